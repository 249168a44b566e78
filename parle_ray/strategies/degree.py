"""The search for a degree of parallelism, in numbers alone: what a round tries, and who wins."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import IntEnum

import torch
from torch import Tensor

FACTOR = 4.0
"""From a degree to its rivals, below and above."""
PAUSE = 6.0
"""Rounds from a trial to the next, at first: as many as a trial has at most."""


class Phase(IntEnum):
    """What a round is for."""

    GO = 0
    """To walk on with the winner."""
    TRY = 1
    """To walk from where the trial began, with the degree that is tried."""
    MEASURE = 2
    """To see where that has led, and walk on: the winner, with which rivals are compared."""
    COMPARE = 3
    """The same: a rival."""
    TURN = 4
    """To walk on with the winner, from where it had led before its rivals were tried."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where the search stands when a round opens.

    A trial is two rounds of the last winner and two of each rival, all from one place, and ends
    with the first rival that does better. Then the next begins at once, with the rival that lies
    the same way; if none does better, it begins after a pause, which doubles each time.

    Attributes:
        phase: of the round.
        degree: that it is walked with.
        winner: of the last trial.
        most: the highest degree that there may be.
        heading: which rival is tried first: 1 the higher, -1 the lower.
        stands: 1 if the winner is measured; 0 if it is not yet, or has come to nothing.
        pause: rounds up to the next trial.
        interval: the next pause.
    """

    phase: float = Phase.TRY
    degree: float = 1.0
    winner: float = 1.0
    most: float = 1.0
    heading: float = 1.0
    stands: float = 0.0
    pause: float = 0.0
    interval: float = PAUSE

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Search":
        """The one that a state has the numbers of."""
        return cls(**{field.name: state[field.name].item() for field in fields(cls)})

    def numbers(self) -> dict[str, Tensor]:
        """As a state has them."""
        each = asdict(self).items()
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in each}

    @property
    def rivals(self) -> list[float]:
        """m/4 and 4m, in the order in which they are tried; 1 and `most` in their place where these
        are nearer than 8 times away, so that no step is short."""
        m, far = self.winner, 2.0 * FACTOR
        lower = m / FACTOR if m >= far else 1.0
        higher = m * FACTOR if m * far <= self.most else self.most
        return sorted({lower, higher} - {m}, reverse=self.heading > 0.0)

    @property
    def tries(self) -> bool:
        """Whether the round is one of a trial; without rivals there is none."""
        return self.phase in (Phase.TRY, Phase.MEASURE, Phase.COMPARE) and bool(self.rivals)

    def up_to(self, most: float) -> "Search":
        """The same, with no degree higher than `most`."""
        return replace(self, most=most, winner=min(self.winner, most))

    def goes_on(self) -> "Search":
        """The next round begins where this one has led; a rival that was compared has won."""
        if not self.tries:
            pause = max(0.0, self.pause - 1.0)
            if pause or not self.rivals:
                return replace(self, phase=Phase.GO, degree=self.winner, pause=pause)
            return self._begin()
        if self.phase == Phase.TRY:
            own = self.degree == self.winner
            return replace(self, phase=Phase.MEASURE if own else Phase.COMPARE)
        heading = 1.0 if self.degree > self.winner else -1.0
        return replace(self, winner=self.degree, heading=heading, interval=PAUSE)._begin()

    def measured(self) -> "Search":
        """The winner has led somewhere; its rivals are next."""
        return replace(self, phase=Phase.TRY, degree=self.rivals[0], stands=1.0)

    def lost(self) -> "Search":
        """What was tried is out: another is next, or all are done and the winner stays.

        If it was the winner that came to nothing, lower degrees are next.
        """
        if not self.stands:
            lower = replace(self, winner=self.degree, heading=-1.0)
            return replace(lower, phase=Phase.TRY, degree=lower.rivals[0])
        if self.degree == self.rivals[0] and len(self.rivals) > 1:
            return replace(self, phase=Phase.TRY, degree=self.rivals[1])
        turned = replace(self, phase=Phase.TURN, degree=self.winner, heading=-1.0)
        return replace(turned, pause=self.interval, interval=2.0 * self.interval)

    def _begin(self) -> "Search":
        """A trial."""
        return replace(self, phase=Phase.TRY, degree=self.winner, stands=0.0)
