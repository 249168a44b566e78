"""What became of every answer: each (replica, round asked for) counts 0 or 1 times."""

from dataclasses import dataclass, field
from enum import StrEnum


class Fate(StrEnum):
    """What became of an answer, or of a replica that gave none."""

    MERGED = "merged"
    LATE = "merged late"
    EMPTY = "no push, its replica started again"
    DROPPED = "dropped"
    REFUSED = "refused"
    SKIPPED = "not walked, the round was over"
    LOST = "lost"


@dataclass
class Entry:
    """The ledger of one round.

    Attributes:
        round: which one.
        fates: by rank and the round that the replica was asked for, which may be an earlier one.
        reasons: rank -> why its push was refused.
        staleness: pushes that were merged between a replica's question and its answer, by the key
            of the answer; of an asynchronous run, where answers are entered in their order.
        strays: answers that nobody waited for: from the dead, or the second to one question.
    """

    round: int
    fates: dict[tuple[int, int], Fate] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    staleness: dict[tuple[int, int], int] = field(default_factory=dict)
    strays: int = 0

    def ranks(self, *fates: Fate) -> list[int]:
        """Those that met one of these fates."""
        return sorted(rank for (rank, _), fate in self.fates.items() if fate in fates)

    @property
    def num_merged(self) -> int:
        """Pushes that are in the master."""
        return len(self.ranks(Fate.MERGED, Fate.LATE))

    @property
    def num_late(self) -> int:
        """Those of them that an earlier round was asked for."""
        return len(self.ranks(Fate.LATE))

    def arrivals(self) -> list[list[object]]:
        """Of an asynchronous round, in their order: rank, version asked for, staleness, fate."""
        return [[*key, age, str(self.fates[key])] for key, age in self.staleness.items()]

    def refusals(self) -> list[str]:
        """A line for each push that was refused."""
        return [
            f"round {self.round}: the push of replica {rank} was refused ({reason}); it starts "
            "again from the master"
            for rank, reason in sorted(self.reasons.items())
        ]
