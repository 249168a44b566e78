"""The roll of an asynchronous run: every push is an event of its own, and nobody is waited for."""

import math
from collections.abc import Iterable
from typing import Any

from parle_ray.membership.ledger import Entry, Fate
from parle_ray.membership.roll import Roll


class Arrivals(Roll):
    """Who walks, and from where; as `Roll`, it knows of answers and nothing of vectors.

    Whatever becomes of it, an answer is the next *arrival*, and `version` counts them: it numbers
    the masters, and the questions. A replica is asked for the walk from the master of a version,
    and has one question at a time, so (rank, version) names a push, which counts 0 or 1 times. As
    many arrivals as the run has replicas are a round, for reports, schedules and the run's length.

    Args:
        ranks: the replicas that take part.
        window: n, the arrivals of a round.
        num_rounds: of the run, which ends after n times as many arrivals.
        most_ahead: a replica walks its own round c while the slowest is in round c - most_ahead
            or later; those that are lost hold nobody.
        most_stale: a push is dropped before which so many others have come since its replica was
            asked: the replica is no longer among so many last finishers.

    Attributes:
        version: arrivals so far.
        asked: rank -> the version that the replica walks from, while its answer is out.
        num_merged: pushes that are in the master.
    """

    def __init__(
        self,
        ranks: Iterable[int],
        *,
        window: int,
        num_rounds: int,
        most_ahead: float = math.inf,
        most_stale: float = math.inf,
    ) -> None:
        super().__init__(ranks)
        self._window, self._last_version = window, window * num_rounds
        self._most_ahead, self._most_stale = most_ahead, most_stale
        self._version = self.num_merged = 0
        self.asked: dict[int, int] = {}
        self._walks = dict.fromkeys(self.ranks, 0)  # rank -> own rounds that it has walked
        self._base: dict[int, int] = {}  # rank -> num_merged when it was asked

    @property
    def version(self) -> int:
        return self._version

    @property
    def ready(self) -> list[int]:
        """The ranks to be asked now, those first that have walked least."""
        left = self._last_version - self._version - len(self.asked)
        slowest = min(self._walks.values(), default=0)
        free = [
            rank
            for rank in self.ranks
            if rank not in self.asked and self._walks[rank] - slowest <= self._most_ahead
        ]
        return sorted(free, key=self._walks.__getitem__)[: max(0, left)]

    def ask(self, rank: int) -> int:
        """A replica is asked for a walk from the master as it is; the number of that question."""
        self.asked[rank] = self._version
        self._base[rank] = self.num_merged
        return self._version

    def admit(self, rank: int) -> None:
        """A replica starts from the master, as far as the slowest of the others."""
        walked = min(self._walks.values(), default=0)
        super().admit(rank)
        self.trailing.clear()
        self._walks[rank] = walked

    def part(self, rank: int) -> None:
        super().part(rank)
        for past in (self.asked, self._base, self._walks):
            past.pop(rank, None)

    def tick(self, rank: int, round: int, seen: int, *, empty: bool = False) -> bool:
        """An answer is in: whether its push is to be merged.

        Args:
            round: the version that it was asked for.
            seen: not looked at; a reply goes to a replica with its question.
            empty: it has no push.
        """
        if self.asked.get(rank) != round:
            self._open.strays += 1
            return False
        del self.asked[rank]
        self._open.staleness[rank, round] = self.num_merged - self._base.pop(rank)
        too_stale = self._version - round >= self._most_stale
        self._version += 1
        self._walks[rank] += 1
        self._last[rank] = round
        self.restart.pop(rank, None)
        if self._version == (self.round + 1) * self._window:
            self.answered = set(self.ranks)
        fate = Fate.EMPTY if empty else Fate.DROPPED if too_stale else Fate.MERGED
        self._open.fates[rank, round] = fate
        return fate is Fate.MERGED

    def merged(self, rank: int) -> None:
        """Its push is in the master."""
        self.num_merged += 1
        self._strikes.pop(rank, None)

    def refuse(self, rank: int, reason: str) -> None:
        self.faults += 1
        self._open.fates[rank, self._last[rank]] = Fate.REFUSED
        self._open.reasons[rank] = reason
        self._strikes[rank] = self._strikes.get(rank, 0) + 1
        self.restart[rank] = self._version

    def skip(self, rank: int, round: int) -> None:
        """A replica says that it did not walk; it is to be asked again."""
        if self.asked.get(rank) == round:
            del self.asked[rank]
            self._open.fates[rank, round] = Fate.SKIPPED

    def check(self) -> None:
        """As `Roll.check`; a replica that has not come yet may still have what can be merged."""
        if self._open.reasons.keys() >= set(self.ranks):
            super().check()

    def turn(self) -> None:
        """Open the next round; walks go on."""
        self.round += 1
        self.entry, self._open = self._open, Entry(self.round)
        self.answered = set()

    def roll_dict(self) -> dict[str, object]:
        return super().roll_dict() | {"version": self._version}

    def load_roll(self, state: dict[str, Any]) -> None:
        super().load_roll(state)
        first = self.round * self._window
        of_this_round = first <= state["version"] < first + self._window  # not, if n was another
        self._version = state["version"] if of_this_round else first
        self._last = dict.fromkeys(self.ranks, -1)
