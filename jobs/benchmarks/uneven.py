"""Two replicas, one of which takes three times as long for a step: all walk L, or as far as they
can. Steps wait and compute next to nothing, so that neither takes the processor from the other."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch
from ray.train import RunConfig, ScalingConfig
from torch import Tensor, nn

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster
from jobs.benchmarks.problems import LENET, sgd
from parle_ray import ParleTrainer
from parle_ray.execution import Execution
from parle_ray.strategies import LocalSGD, Parle, Strategy

STEP_S = 0.02
SLOWER = 3
BATCH = 8
WARM = 5
"""Rounds that are not counted: nobody's speed is known in the first."""

STRATEGIES: dict[str, Strategy] = {
    "local SGD, which waits": LocalSGD(weighting="samples"),
    "Parle, which overlaps": Parle(weighting="samples"),
}


def benchmark(quick: bool) -> Benchmark:
    """L=25, steps of 20 and 60 ms beside LeNet's own on 8 examples."""
    rounds = 3 if quick else 30
    return Benchmark(
        title=f"Two replicas, one of them {SLOWER} times as slow, L=25",
        quantities={
            "samples_per_s": "examples a second of both, median of the rounds",
            "round_s": "seconds of a round, median",
            "slow_steps": "mini-batches of the slow replica in a round, median",
            "late": "pushes that were late, of all",
        },
        cases=[
            Case(
                name=name,
                contestants={
                    "even": partial(_train, strategy, rounds),
                    "uneven": partial(_train, replace(strategy, uneven=True), rounds),
                },
                bases=("even",),
            )
            for name, strategy in STRATEGIES.items()
        ],
        repeats=1 if quick else 3,
        surroundings=cluster,
    )


def batches(rank: int, num_replicas: int) -> list[Any]:
    """With each the time that a step of this replica waits."""
    waits = torch.tensor(STEP_S * (SLOWER if rank == 1 else 1))
    return [(images[:BATCH], labels[:BATCH], waits) for images, labels in LENET.batches(rank)]


def loss(module: nn.Module, batch: Any) -> Tensor:
    time.sleep(batch[2].item())
    return LENET.loss(module, batch)


def _train(strategy: Strategy, rounds: int) -> Mapping[str, float]:
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        ParleTrainer(
            model_fn=LENET.model,
            loss_fn=loss,
            batches_fn=batches,
            strategy=strategy,
            inner_optimizer_fn=sgd,
            num_rounds=WARM + rounds,
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(name=f"bench_{time.time_ns()}", storage_path=folder),
            execution=Execution(device="cpu", num_threads=1),
            on_report=reports.append,
        ).fit()
    seen = reports[WARM:]
    longest = strategy.steps(0)
    return {
        "samples_per_s": median(report["samples_per_s"] for report in seen),
        "round_s": median(report["round_s"] for report in seen),
        "slow_steps": median(report.get("replica/1/steps", longest) for report in seen),
        "late": sum(report["late"] for report in seen),
    }
