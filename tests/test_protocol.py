"""The protocol under schedules of every kind: random ones, all short ones, and broken masters."""

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from parle_ray.master import Master
from parle_ray.strategies import LocalSGD, Parle, Strategy
from tests.protocol import OVERLAPS, Cluster
from tests.schedules import ENDS, explore, play


def test_random_schedules_keep_the_ledger() -> None:
    assert sum(play(seed) for seed in range(60)) > 4 * 60


class Duplicates(Master):
    """Takes an answer again."""

    def tick(self, rank: int, *args: Any, **options: Any) -> bool:
        self._last[rank] = -1
        return super().tick(rank, *args, **options)


class CountsTwice(Master):
    """Forgets that a replica has something in the round already."""

    def _counted(self, rank: int) -> tuple[int, int] | None:
        key = super()._counted(rank)
        return key if key is None or key[1] == self.round else None


class BelievesNumbers(Master):
    """Looks for no value that is not finite."""

    def refuse(self, rank: int, reason: str) -> None:
        pass


class BelievesShapes(Master):
    """Looks at no shape."""

    def wrong(self, push: Any, rank: int, round: int) -> str | None:
        return None


class WantsMore(Master):
    """A quorum one too large."""

    @property
    def quorum(self) -> int:
        return super().quorum + 1


class Endless(Master):
    """Waits for everybody, for ever."""

    def may_close(self, patience_is_over: bool) -> bool:
        return super().may_close(False)


class Unforgiving(Master):
    """Who trailed once trails for ever."""

    def turn(self) -> None:
        before = set(self.trailing)
        super().turn()
        self.trailing |= before


class Forgetful(Master):
    """Tells no replica to start again."""

    def turn(self) -> None:
        super().turn()
        self.restart.clear()


MUTANTS = [
    Duplicates,
    CountsTwice,
    BelievesNumbers,
    BelievesShapes,
    WantsMore,
    Endless,
    Unforgiving,
    Forgetful,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda kind: kind.__name__)
def test_a_broken_master_is_found(mutant: type[Master]) -> None:
    def broken(seed: int) -> bool:
        try:
            play(seed, mutant)
        except (AssertionError, RuntimeError, KeyError):
            return True
        return False

    assert any(broken(seed) for seed in range(300))


@pytest.mark.parametrize("strategy", OVERLAPS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(("n", "depth"), [(1, 6), (2, 4), (3, 3)])
def test_all_short_schedules_keep_the_ledger(n: int, depth: int, strategy: Strategy) -> None:
    states, explored = explore(n, strategy, depth)
    assert (explored, states > 50) == (depth, True)


class Protocol(RuleBasedStateMachine):
    """The same, driven by hypothesis, which shrinks what it finds when it is let."""

    @initialize(n=st.integers(1, 4), overlaps=st.booleans())
    def begin(self, n: int, overlaps: bool) -> None:
        self.cluster = Cluster(n, Parle() if overlaps else LocalSGD(), 30)

    @rule(data=st.data())
    def happen(self, data: Any) -> None:
        event = data.draw(st.sampled_from(self.cluster.events()))
        self._let(lambda: self.cluster.do(event))

    @rule()
    def progress(self) -> None:
        self._let(self.cluster.settle)

    def _let(self, act: Any) -> None:
        if self.cluster.done:
            return
        try:
            act()
        except ENDS:
            self.cluster.num_rounds = 0


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    phases=(Phase.generate,),
    deadline=None,
    derandomize=True,
)
