"""Clocks where a user's code sits, so that nothing of the trainer changes to be watched.

A stamp is a line of a file: process id, time of day, monotonic clock, CPU time of the process. Each
replica stamps before a round's first batch and at its push, the coordinator at its merge.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor
from torch.optim import Optimizer

from jobs.benchmarks.problems import Problem
from parle_ray.fold import Pushed
from parle_ray.strategies import Parle
from parle_ray.strategies.base import State


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
    """Parle that leaves a stamp in `folder` at every push and at every merge."""

    folder: str

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        stamp(Path(self.folder) / f"push_{os.getpid()}")
        return super().push(y, state, inner, round)

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
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


def rate(stamps: pd.DataFrame, clock: str, skip: int) -> float:
    """Seconds of a clock from one stamp to the next, mean after the first `skip`."""
    values = stamps[clock].iloc[skip:]
    return float((values.iloc[-1] - values.iloc[0]) / (len(values) - 1))
