"""Faults in your own tests: a pytest fixture.

from parle_ray.chaos.fixture import faults

def test_it_goes_on(faults):
    faults.kill(rank=1, round=3)
    ...  # ParleTrainer(run_config=RunConfig(callbacks=[faults], ...)).fit()
    faults.check(result)
"""

from collections.abc import Iterator
from typing import Any

import pytest

from parle_ray.chaos.injector import Injector
from parle_ray.chaos.result import rounds_of
from parle_ray.chaos.schedule import Fault
from parle_ray.chaos.verdict import broken

PAUSE_S = 30.0


class Faults(Injector):
    """The faults of one run; also its callback. Each strikes when `round` rounds are closed.

    The run has to allow for losses, `FailureConfig(max_failures=-1)`, and to be long enough: who
    was struck is away for some seconds, and a next fault waits for it while others close rounds.
    """

    def kill(self, *, rank: int, round: int) -> None:
        """SIGKILL to a replica."""
        self.add("kill", rank=rank, round=round)

    def segfault(self, *, rank: int, round: int) -> None:
        """SIGSEGV to a replica."""
        self.add("segfault", rank=rank, round=round)

    def stop(self, *, rank: int, round: int, seconds: float) -> None:
        """A replica stands still for so many seconds."""
        self.add("stop", rank=rank, round=round, seconds=seconds)

    def raise_(self, *, rank: int, round: int) -> None:
        """An exception in `loss_fn`; each has a text of its own."""
        self.add("raise", rank=rank, round=round)

    def nan(self, *, rank: int, round: int) -> None:
        """A loss that is NaN, once."""
        self.add("nan", rank=rank, round=round)

    def corrupt(self, *, rank: int, round: int) -> None:
        """A push of a wrong shape."""
        self.add("corrupt", rank=rank, round=round)

    def drop(self, *, round: int) -> None:
        """A push is lost on its way to the coordinator."""
        self.add("drop", round=round)

    def duplicate(self, *, rank: int, round: int) -> None:
        """A push comes again in place of the next."""
        self.add("duplicate", rank=rank, round=round)

    def disk_full(self, *, round: int, seconds: float) -> None:
        """Nothing that the driver writes to the run folder can be written for so many seconds."""
        self.add("disk_full", round=round, seconds=seconds)

    def stop_coordinator(self, *, round: int) -> None:
        """The coordinator stands still, and nobody wakes it."""
        self.add("stop_coordinator", round=round)

    def kill_coordinator(self, *, round: int) -> None:
        """SIGKILL to the coordinator."""
        self.add("kill_coordinator", round=round)

    def kill_evaluator(self, *, round: int) -> None:
        """SIGKILL to the evaluator."""
        self.add("kill_evaluator", round=round)

    def add(self, kind: str, **where: Any) -> None:
        """A fault by its name (see `parle_ray.chaos.kinds`)."""
        self.faults.append(Fault(kind=kind, **where))

    def check(self, result: Any, *, pause_s: float = PAUSE_S) -> None:
        """Every fault has happened, each round was closed once, and none took too long.

        Args:
            result: of `fit()`.
            pause_s: how long no round may be reported.

        Raises:
            AssertionError: says what is not so.
        """
        self.close()
        missed = [f"{one.fault}: {one.why_not}" for one in self.struck if one.why_not]
        assert len(self.struck) == len(self.faults), "the run did not report to its faults"
        assert not missed, "faults that did not happen: " + "; ".join(missed)
        wrong = broken(rounds_of(result), result.metrics["num_rounds"], self.seen, pause_s=pause_s)
        assert not wrong, "; ".join(wrong)


@pytest.fixture
def faults() -> Iterator[Faults]:
    """Faults for one run."""
    made = Faults()
    yield made
    made.close()
