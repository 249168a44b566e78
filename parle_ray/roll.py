"""Who takes part in a run, who has answered in the open round, and who has to start again."""

import math
from collections.abc import Iterable

from parle_ray.errors import all_diverged


class Roll:
    """The call of the roll, round after round; it knows of answers, and nothing of vectors.

    Args:
        ranks: the replicas that take part.

    Attributes:
        round: k, the round that is open.
        faults: answers that were refused so far, and replicas that were lost.
        restart: the ranks that were refused in the round closed last.
    """

    def __init__(self, ranks: Iterable[int]) -> None:
        self.ranks = sorted(ranks)
        self.round = 0
        self.faults = 0
        self._answered: set[int] = set()
        self._prefix = 0  # so many of the first ranks have answered, at least
        self._refused: set[int] = set()
        self.restart: set[int] = set()

    @property
    def waiting(self) -> list[int]:
        """The ranks whose answer of the open round is still out."""
        return [rank for rank in self.ranks if rank not in self._answered]

    def lowest_waiting(self) -> float:
        """The first of `waiting`, without a look at all ranks for every answer."""
        while self._prefix < len(self.ranks) and self.ranks[self._prefix] in self._answered:
            self._prefix += 1
        return self.ranks[self._prefix] if self._prefix < len(self.ranks) else math.inf

    def admit(self, rank: int) -> None:
        """A replica starts from the master, before anybody answered."""
        self.ranks = sorted({*self.ranks, rank})
        self.restart.discard(rank)

    def strike(self, rank: int) -> None:
        """A replica was lost; nothing is waited for from it."""
        self.ranks.remove(rank)
        self._prefix = 0
        self.faults += 1

    def tick(self, rank: int, round: int) -> None:
        """An answer of the open round is in."""
        assert round == self.round, (round, self.round)
        assert rank in self.ranks, (rank, self.ranks)
        assert rank not in self._answered, (rank, self.waiting)
        self._answered.add(rank)

    def refuse(self, rank: int) -> None:
        """What it pushed is not finite: it has to start again."""
        self.faults += 1
        self._refused.add(rank)

    def check(self, num_merged: int) -> None:
        """Before a round of so many usable pushes is closed.

        Raises:
            Diverged: every replica pushed non-finite values.
        """
        assert not self.waiting
        if not num_merged and self._refused:
            raise all_diverged(self.round)

    def turn(self) -> None:
        """Open the next round."""
        self.round += 1
        self.restart, self._refused = self._refused, set()
        self._answered.clear()
        self._prefix = 0

    def roll_dict(self) -> dict[str, object]:
        """What the next round depends on, at a moment when no answer is in."""
        assert not self._answered
        return {"round": self.round, "faults": self.faults, "restart": sorted(self.restart)}

    def load_roll(self, state: dict) -> None:  # type: ignore[type-arg]
        """Go on from a saved state."""
        self.round, self.faults = state["round"], state["faults"]
        self.restart = set(state["restart"])
