"""From `fit()` to the first training step, on a cluster that is already there."""

import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, prepare_model
from torch import nn

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster
from jobs.benchmarks.problems import Vector, sgd
from jobs.benchmarks.stamps import StampedBatches, read, stamp
from parle_ray import ParleTrainer
from parle_ray.execution import Execution
from parle_ray.strategies import Parle

NUM_PARAMS = 100


def benchmark(quick: bool) -> Benchmark:
    """Three processes each; both start on CPUs that the cluster has to spare."""
    num = 2 if quick else 3
    return Benchmark(
        title=f"From fit() until all of {num} processes have made their first step",
        quantities={"start_s": "wall time, s"},
        cases=[
            Case(
                name=f"{NUM_PARAMS} parameters, a running cluster",
                contestants={
                    "ParleTrainer (ours)": partial(_ours, num),
                    "Ray Train's TorchTrainer": partial(_torch_trainer, num),
                },
                bases=("Ray Train's TorchTrainer",),
            )
        ],
        repeats=1 if quick else 7,
        surroundings=cluster,
    )


def _ours(num: int) -> Mapping[str, float]:
    problem = Vector(num_params=NUM_PARAMS)
    with tempfile.TemporaryDirectory() as folder:
        before = time.time()
        ParleTrainer(
            model_fn=problem.model,
            loss_fn=problem.loss,
            # A stamp before every batch: the second stands behind the first step.
            batches_fn=StampedBatches(problem, 1, Path(folder)),
            strategy=Parle(sync_every=2),
            inner_optimizer_fn=sgd,
            num_rounds=1,
            scaling_config=ScalingConfig(num_workers=num),
            run_config=RunConfig(name=f"bench_{time.time_ns()}", storage_path=folder),
            execution=Execution(device="cpu", num_threads=1),
            on_report=lambda report: None,
        ).fit()
        stamps = [read(Path(folder) / f"replica_{rank}", 2) for rank in range(num)]
    return {"start_s": max(float(each["at"].iloc[1]) for each in stamps) - before}


def _torch_trainer(num: int) -> Mapping[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        before = time.time()
        TorchTrainer(
            _train,
            train_loop_config={"folder": folder},
            scaling_config=ScalingConfig(num_workers=num),
            run_config=RunConfig(name=f"bench_{time.time_ns()}", storage_path=folder),
        ).fit()
        stamps = [read(Path(folder) / f"replica_{rank}", 1) for rank in range(num)]
    return {"start_s": max(float(each["at"].iloc[0]) for each in stamps) - before}


def _train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    module: nn.Module = prepare_model(nn.Linear(NUM_PARAMS - 1, 1))
    optimizer = sgd(module.parameters())
    module(torch.zeros(1, NUM_PARAMS - 1)).sum().backward()
    optimizer.step()
    rank = get_context().get_world_rank()
    stamp(Path(config["folder"]) / f"replica_{rank}")
