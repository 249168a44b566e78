"""Damaged checkpoints, and forged ones, through what a run goes on from.

A run folder has a checkpoint of round 1 and one of round 2, and something is done to that of round
2. The run has to go on from it with the bits that it has, or to pass it over in one line and go on
from round 1. A forger can put other numbers into a checkpoint and the right checksums over them:
then the run has to go on, or to end with an error of ours.
"""

import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from parle_ray.errors import Diverged
from parle_ray.runs import checkpoint
from parle_ray.runs.resume import newest
from parle_ray.runs.spec import spec
from parle_ray.runs.storage import Folder, open_folder
from parle_ray.strategies import SGD, DiLoCo, Parle
from parle_ray.task import Task
from tests.cuts import Crew
from tests.fuzz.damage import FORGERIES, INJURIES
from tests.fuzz.harness import Case
from tests.problems import sgd, task

ROUNDS = 3
GROWTH_BYTES = 2**28
"""By which the memory of a case may raise the highest use of this process."""


def cases(number: int, seed: int, folder: Path) -> Iterator[Case]:
    """So many cases; `folder` takes the run folders."""
    draw = random.Random(seed)
    subjects = [_Subject(i, given, folder) for i, given in enumerate(_tasks())]
    for i in range(number):
        subject, own = draw.choice(subjects), random.Random(draw.random())
        forged = draw.random() < 0.6
        name = draw.choice(sorted(FORGERIES if forged else INJURIES))
        what = f"checkpoint {i} of seed {seed}: {name} on {subject.task.strategy}"
        yield what, subject.case(name, own, forged)


def _tasks() -> list[Task]:
    def decayed(inner: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.CosineAnnealingLR(inner, T_max=ROUNDS)

    momentum = {"inner_optimizer_fn": sgd(momentum=0.9, nesterov=True), "num_rounds": ROUNDS}
    return [
        task(Parle(sync_every=2), lr_scheduler_fn=decayed, **momentum),
        task(DiLoCo(sync_every=2), compression="int8", inner_optimizer_fn=torch.optim.AdamW),
        task(SGD(sync_every=2), **momentum),
    ]


class _Subject:
    """A run, the bits with which it ends, and copies of its folder to be damaged."""

    def __init__(self, index: int, given: Task, folder: Path) -> None:
        self.task = given
        self._spec = spec(given, {}, {"CPU": 1.0})
        self._whole, self._copy = folder / f"whole{index}", folder / f"copy{index}"
        self._canary = folder / f"canary{index}"
        crew = write(self._whole, given, [1, 2], self._spec)
        crew.play(ROUNDS - 2)
        self._bits = crew.bits()

    def case(self, name: str, draw: random.Random, forged: bool) -> Callable[[], str]:
        def run() -> str:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            shutil.rmtree(self._copy, ignore_errors=True)
            shutil.copytree(self._whole, self._copy)
            (FORGERIES if forged else INJURIES)[name](
                draw, self._copy / "checkpoint_000002", self._canary
            )
            end = self._go_on(open_folder(self._copy), forged)
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            assert grown < GROWTH_BYTES, f"it took {grown:,} bytes"
            assert not self._canary.exists(), "it ran code"
            return end

        return run

    def _go_on(self, run: Folder, forged: bool) -> str:
        said: list[str] = []
        round, resume = newest(run, self.task, self._spec, said.append)
        assert all(line.isprintable() and len(line) < 1000 for line in said), said
        if checkpoint.names(run)[-1] == "checkpoint_000001":
            assert round == len(said) == 1, said
            end = "not the newest any more"
        elif round == 1:
            assert len(said) == 2, said
            assert said[0].endswith("; passed over"), said
            end = "refused"
        else:
            assert round == 2, round
            end = "read"
        crew = Crew(self.task.fitted_to(3), resume)
        try:
            crew.play(ROUNDS - round)
        except Diverged:
            assert forged
            return "read with other numbers"
        if torch.equal(crew.bits(), self._bits):
            return end
        assert forged, "other bits"
        assert round == 2, "other bits, from the checkpoint that nobody touched"
        return "read with other numbers"


def write(folder: Path, given: Task, rounds: list[int], spec: dict[str, Any]) -> Crew:
    """A run folder with checkpoints of these rounds; the crew, which stands at the last."""
    crew = Crew(given.fitted_to(3))
    folder.mkdir()
    with _no_sync():
        for round in rounds:
            crew.play(round - crew.master.round)
            checkpoint.save(open_folder(folder), round, spec=spec, **crew.cut())
    return crew


@contextmanager
def _no_sync() -> Iterator[None]:
    """No power is cut here."""
    sync, os.fsync = os.fsync, lambda handle: None
    try:
        yield
    finally:
        os.fsync = sync
