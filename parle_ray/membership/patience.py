"""How long a round waits for those that are late, and when a replica is taken for dead."""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median

REMEMBERED = 16
"""Rounds whose median is the usual time of a round."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """All times are seconds.

    Attributes:
        floor_s: a round is open for at least so long before it closes without somebody.
        factor: and for so many usual rounds.
        hung_floor_s: a replica may be silent for at least so long.
        hung_factor: and for so many times what a round usually takes, or took this replica.
    """

    floor_s: float = 10.0
    factor: float = 3.0
    hung_floor_s: float = 60.0
    hung_factor: float = 10.0

    def round_s(self, usual_s: float, quorum_s: float) -> float:
        """How long a round stays open, from its opening, in which a quorum took `quorum_s`."""
        return max(self.floor_s, self.factor * max(usual_s, quorum_s))

    def silence_s(self, longest_s: float) -> float:
        """How long a replica may be silent where `longest_s` is the longest time it may need."""
        return max(self.hung_floor_s, self.hung_factor * longest_s)


class RoundClock:
    """The times of rounds, of which it is told; it looks at no clock.

    Attributes:
        opened: when the open round was opened.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._took: deque[float] = deque(maxlen=REMEMBERED)
        self._first_s = math.inf
        self._quorum_s: float | None = None
        self.opened = 0.0

    @property
    def usual_s(self) -> float:
        """The median of the last rounds; 0 before the first has closed."""
        return median(self._took) if self._took else 0.0

    def open(self, now: float) -> None:
        """A round opens."""
        self.opened, self._quorum_s = now, None

    def quorum(self, now: float) -> None:
        """A quorum has answered; only the first word of it counts."""
        if self._quorum_s is None:
            self._quorum_s = now - self.opened

    def close(self, now: float) -> None:
        """The round closes."""
        took = now - self.opened
        if not self._took:
            self._first_s = took
        self._took.append(took)

    @property
    def deadline(self) -> float:
        """When the open round waits no longer; infinite as long as there is no quorum."""
        if self._quorum_s is None:
            return math.inf
        return self.opened + self._patience.round_s(self.usual_s, self._quorum_s)

    def silence_s(self, slowest_s: float | None) -> float:
        """How long a replica may be silent whose slowest answer took so long.

        One that has not answered yet may need what the first round of the run needed, in which
        models are compiled; before that round has closed nobody is taken for dead.
        """
        own = self._first_s if slowest_s is None else slowest_s
        return self._patience.silence_s(max(self.usual_s, own))
