"""Training over slow networks: ours against Ray Train's DDP, two nodes in network namespaces."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, prepare_model

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.namespaces import Hosts, hosts
from jobs.benchmarks.ours import train
from jobs.benchmarks.problems import CIFAR, PERCEPTRON, Images, perceptron, sgd
from jobs.benchmarks.stamps import rate, read, stamp

SYNC_EVERY = 25
SKIP = 1
"""Rounds, or steps of DDP, that are not counted."""

PROBLEMS = {
    "0.67 M parameters": PERCEPTRON,
    "11 M parameters": Images(network=perceptron(CIFAR, 3_568), shape=CIFAR, batch_size=16),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A speed, and what to run on it: slow ones are given fewer rounds and steps."""

    mbit: int
    rounds: int
    steps: int


def benchmark(quick: bool) -> Benchmark:
    """One replica or worker on each of two nodes, one CPU each."""
    lines = [Line(mbit=1000, rounds=6, steps=30), Line(mbit=100, rounds=4, steps=8)]
    lines.append(Line(mbit=10, rounds=2, steps=3))
    problem = "11 M parameters"
    if quick:
        lines, problem = [Line(mbit=100, rounds=3, steps=10)], "0.67 M parameters"
    there: list[Hosts] = []

    @contextmanager
    def surroundings() -> Iterator[None]:
        with hosts() as made:
            there.append(made)
            yield

    def run(line: Line, contestant: str, count: int) -> Mapping[str, float]:
        there[0].limit(line.mbit)
        return there[0].figures("-m", "jobs.benchmarks.network", contestant, problem, str(count))

    return Benchmark(
        title=f"Training on two nodes, {problem}, Parle with L={SYNC_EVERY}",
        quantities={"samples_per_s": "examples a second, both nodes together"},
        cases=[
            Case(
                name=f"{line.mbit} Mbit/s each way",
                contestants={
                    "Parle (ours)": partial(run, line, "ours", line.rounds),
                    "Ray Train, DDP": partial(run, line, "ddp", line.steps),
                },
                bases=("Ray Train, DDP",),
            )
            for line in lines
        ],
        repeats=1 if quick else 3,
        surroundings=surroundings,
    )


def _ours(problem: Images, rounds: int) -> float:
    trace = train(problem, num_rounds=SKIP + rounds + 1, sync_every=SYNC_EVERY, cpus=1)
    return 2 * problem.batch_size * SYNC_EVERY / trace.replica_wall_s(SKIP)


def _ddp(problem: Images, steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        TorchTrainer(
            _train,
            train_loop_config={"folder": folder, "problem": problem, "steps": SKIP + steps + 1},
            scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name=f"bench_{time.time_ns()}", storage_path=folder),
        ).fit()
        stamps = read(Path(folder) / "worker_0", SKIP + steps + 1)
    return 2 * problem.batch_size / rate(stamps, "wall_s", SKIP)


def _train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    problem: Images = config["problem"]
    rank = get_context().get_world_rank()
    module = prepare_model(problem.model())
    optimizer = sgd(module.parameters())
    for batch in islice(cycle(problem.batches(rank)), config["steps"]):
        stamp(Path(config["folder"]) / f"worker_{rank}")
        optimizer.zero_grad()
        problem.loss(module, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


if __name__ == "__main__":
    _contestant, _problem, _count = sys.argv[1:]
    _run = {"ours": _ours, "ddp": _ddp}[_contestant]
    print(json.dumps({"samples_per_s": _run(PROBLEMS[_problem], int(_count))}))
