"""The questions that are out: to whom, for which round, since when, and whom to ask next."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from parle_ray.membership.patience import RoundClock
from parle_ray.membership.roll import Roll

Token = TypeVar("Token")
"""What an answer is known by, such as a reference of it."""


@dataclass
class Asked(Generic[Token]):
    """What one incarnation of a replica was asked.

    Attributes:
        out: round -> the token of its answer, in the order of asking.
        last: the last round asked for.
        at: when it was asked or answered last.
        slowest_s: the longest that an answer took, None before the first.
    """

    last: int
    at: float
    out: dict[int, Token] = field(default_factory=dict)
    slowest_s: float | None = None


class Questions(Generic[Token]):
    """An answer counts only if its token is held here: a ghost or a duplicate has no way in.

    Args:
        roll: who takes part, and in which round.
        ahead: rounds that a prompt replica is asked for at once: 2 where the reply to the first
            is needed only at the end of the second.
        num_rounds: of the run.
    """

    def __init__(self, roll: Roll, *, ahead: int, num_rounds: int) -> None:
        self._roll, self._ahead, self._num_rounds = roll, ahead, num_rounds
        self._asked: dict[int, Asked[Token]] = {}

    def meet(self, rank: int, now: float) -> None:
        """A replica that is new; what an earlier one of its rank was asked is forgotten."""
        self._asked[rank] = Asked(self._roll.round - 1, now)

    def forget(self, rank: int) -> None:
        """Nothing that this replica may still say is listened to."""
        del self._asked[rank]

    def wanted(self) -> list[tuple[int, int]]:
        """Rank and round of all that is to be asked now.

        A replica that trails has one question at a time. It is for the open round; where it has
        said all that it has to say in that one, for the next, if strategies let it go ahead.
        """
        found = []
        for rank, asked in self._asked.items():
            first = self._roll.round + (rank in self._roll.answered)
            stop = min(self._roll.round + self._ahead, self._num_rounds)
            rounds = range(max(first, asked.last + 1), stop)
            if rank in self._roll.trailing:
                rounds = rounds[:0] if asked.out else rounds[:1]
            found += [(rank, round) for round in rounds]
        return found

    def ask(self, rank: int, round: int, token: Token, now: float) -> None:
        """A question has gone out."""
        asked = self._asked[rank]
        if not asked.out:
            asked.at = now
        asked.out[round], asked.last = token, round

    def oldest(self) -> dict[Token, tuple[int, int]]:
        """The answer to wait for from each replica: they come in the order of asking."""
        return {
            token: (rank, round)
            for rank, asked in self._asked.items()
            for round, token in list(asked.out.items())[:1]
        }

    def travels(self, rank: int, round: int, token: Token) -> None:
        """The answer is there; something else must come before it counts."""
        self._asked[rank].out[round] = token

    def answered(self, rank: int, round: int, now: float, opened: float) -> None:
        """The question is no longer out."""
        asked = self._asked[rank]
        del asked.out[round]
        asked.slowest_s = max(asked.slowest_s or 0.0, now - max(asked.at, opened))
        asked.at = now

    def hung(self, clock: RoundClock, now: float) -> dict[int, float]:
        """Those that are silent for too long, and for how long.

        A question asked ahead counts from the opening of its round: before, its replica may be
        waiting for us.
        """
        silent = {
            rank: now - max(asked.at, clock.opened if self._roll.version in asked.out else 0.0)
            for rank, asked in self._asked.items()
            if asked.out and min(asked.out) <= self._roll.version
        }
        return {
            rank: seconds
            for rank, seconds in silent.items()
            if seconds > clock.silence_s(self._asked[rank].slowest_s)
        }
