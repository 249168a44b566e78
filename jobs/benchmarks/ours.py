"""Runs of `ParleTrainer` on a Ray cluster, with clocks in the replicas and in the coordinator."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray.train import RunConfig, ScalingConfig
from torch import Tensor

from jobs.benchmarks.problems import Problem, sgd
from parle_ray import ParleTrainer
from parle_ray.execution import Execution
from parle_ray.strategies import Parle
from parle_ray.strategies.base import State

UNSEEN = 3
"""Rounds that a run is planned longer than it is watched: the checkpoint at its end falls there."""


@contextmanager
def cluster(num_cpus: int = 4) -> Iterator[None]:
    """A cluster of this machine's own, or the one that this process is in already."""
    if ray.is_initialized():
        yield
        return
    ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Trace:
    """What was seen of a run.

    Attributes:
        reports: of the rounds, in their order.
        replicas: rank -> a stamp for every round it began.
        coordinator: a stamp for every round it closed.
    """

    reports: list[dict[str, Any]]
    replicas: dict[int, pd.DataFrame]
    coordinator: pd.DataFrame

    def replica_cpu_s(self, skip: int) -> float:
        """CPU time of a replica's process for each round, mean; the first `skip` left out."""
        return sum(_rate(s, "cpu_s", skip) for s in self.replicas.values()) / len(self.replicas)

    def replica_wall_s(self, skip: int) -> float:
        """The same by the clock on the wall."""
        return sum(_rate(s, "wall_s", skip) for s in self.replicas.values()) / len(self.replicas)

    def coordinator_cpu_s(self, skip: int) -> float:
        """CPU time of the coordinator's process for each round."""
        return _rate(self.coordinator, "cpu_s", skip)

    def median(self, name: str, skip: int) -> float:
        """Of a metric of the reports."""
        return float(pd.Series([report[name] for report in self.reports[skip:]]).median())


def train(
    problem: Problem,
    *,
    num_replicas: int = 2,
    num_rounds: int,
    sync_every: int = 25,
    cpus: float | None = None,
    on_coordinator: Callable[[int], None] | None = None,
) -> Trace:
    """Train with Parle for `num_rounds` and stop there, in replicas of one thread each.

    Args:
        problem: what to train.
        num_replicas: n.
        num_rounds: how many reports to wait for.
        sync_every: L.
        cpus: what each replica reserves; None leaves it to the trainer.
        on_coordinator: is told the coordinator's process id when it has closed a round.
    """
    reports: list[dict[str, Any]] = []

    def listen(report: dict[str, Any]) -> None:
        reports.append(report)
        if on_coordinator and len(reports) == 1:
            on_coordinator(int(read(stamps / "coordinator", 1)["pid"].iloc[0]))
        if len(reports) == num_rounds:
            raise _Seen

    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder)
        trainer = ParleTrainer(
            model_fn=problem.model,
            loss_fn=problem.loss,
            batches_fn=StampedBatches(problem, sync_every, stamps),
            strategy=StampedParle(sync_every=sync_every, folder=folder),
            inner_optimizer_fn=sgd,
            num_rounds=num_rounds + UNSEEN,
            checkpoint_every=num_rounds + UNSEEN,
            scaling_config=ScalingConfig(
                num_workers=num_replicas,
                resources_per_worker=None if cpus is None else {"CPU": cpus},
            ),
            run_config=RunConfig(name=f"bench_{time.time_ns()}", storage_path=folder),
            execution=Execution(device="cpu", num_threads=1),
            on_report=listen,
        )
        with suppress(_Seen):
            trainer.fit()
        return Trace(
            reports,
            {rank: read(stamps / f"replica_{rank}", num_rounds) for rank in range(num_replicas)},
            read(stamps / "coordinator", num_rounds),
        )


class _Seen(Exception):
    """All rounds that were to be watched are closed."""


@dataclass(frozen=True)
class StampedBatches:
    """`batches_fn`: a problem's batches, for ever, with a stamp at the start of every round.

    Attributes:
        problem: whose batches.
        every: batches of a round.
        folder: for `replica_<rank>`.
    """

    problem: Problem
    every: int
    folder: Path

    def __call__(self, rank: int, num_replicas: int) -> "_Stamped":
        return _Stamped(self.problem.batches(rank), self.every, self.folder / f"replica_{rank}")


class _Stamped:
    def __init__(self, batches: list[Any], every: int, path: Path) -> None:
        self._batches, self._every, self._path = batches, every, path

    def __iter__(self) -> Iterator[Any]:
        endless = cycle(self._batches)
        while True:
            stamp(self._path)
            yield from islice(endless, self._every)


@dataclass(frozen=True, kw_only=True)
class StampedParle(Parle):
    """Parle whose coordinator leaves a stamp in `folder` at every merge."""

    folder: str

    def merge(self, master: Tensor, state: State, pushed: Mapping[int, Tensor], round: int) -> None:
        super().merge(master, state, pushed, round)
        stamp(Path(self.folder) / "coordinator")


def stamp(path: Path) -> None:
    """Add a line with this process and its clocks."""
    line = f"{os.getpid()} {time.time()} {time.perf_counter()} {time.process_time()}\n"
    with path.open("a") as file:
        file.write(line)


def read(path: Path, num: int) -> pd.DataFrame:
    """The first `num` stamps of the process that wrote first.

    The evaluator asks for batches of its own, and a killed process may leave half a line: both
    come after them.
    """
    names = ["pid", "at", "wall_s", "cpu_s"]
    rows = [line.split() for line in path.read_text().splitlines()]
    mine = [row for row in rows if row[:1] == rows[0][:1]][:num]
    return pd.DataFrame(mine, columns=names).astype(dict.fromkeys(names, float))


def _rate(stamps: pd.DataFrame, clock: str, skip: int) -> float:
    """Seconds of a clock from one stamp to the next, mean after the first `skip`."""
    values = stamps[clock].iloc[skip:]
    return float((values.iloc[-1] - values.iloc[0]) / (len(values) - 1))
