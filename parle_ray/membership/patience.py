"""How long a round waits for those that are late, and when a replica is taken for dead."""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median, median_low

REMEMBERED = 16
"""Rounds whose median is the usual time of a round."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """All times are seconds.

    A round is open for `factor` times what it needs. Longer only at the expense of a purse, which
    fills with the time of the run and from which every second is taken that a round was open
    beyond what it needs: however many replicas stumble, the others lose `share` of their time and
    `purse_s` to them, and a run of many short rounds forgives a pause between two of them.

    Attributes:
        factor: a round is open for so many times what it needs.
        grace_s: and for at least so long: no clock of a cluster is finer.
        share: of its time that a run may lose to those that are later still.
        purse_s: seconds of it with which a run begins.
        full_s: seconds at which the purse is full; in the first round, where nobody knows what
            is needed, it is open for so long.
        hung_floor_s: a replica may be silent for at least so long.
        hung_factor: and for so many times what a round usually takes, or took this replica.
    """

    factor: float = 3.0
    grace_s: float = 0.1
    share: float = 0.02
    purse_s: float = 1.0
    full_s: float = 10.0
    hung_floor_s: float = 60.0
    hung_factor: float = 10.0

    def silence_s(self, longest_s: float) -> float:
        """How long a replica may be silent where `longest_s` is the longest time it may need."""
        return max(self.hung_floor_s, self.hung_factor * longest_s)


class RoundClock:
    """The times of rounds, of which it is told; it looks at no clock.

    Attributes:
        opened: when the open round was opened.
        purse_s: what a late replica may cost the open round.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._took: deque[float] = deque(maxlen=REMEMBERED)
        self._first_s = math.inf
        self._quorum_s: float | None = None
        self._walks: dict[int, float] = {}
        self._exchanges: dict[int, float] = {}
        self._steps = 1
        self.opened = 0.0
        self.purse_s = patience.purse_s

    @property
    def usual_s(self) -> float:
        """The median of the last rounds; 0 before the first has closed."""
        return median(self._took) if self._took else 0.0

    @property
    def needed_s(self) -> float:
        """What a round needs without those that are late.

        Replicas tell how long they walked, without waiting; the slower half does not count. Where
        vectors travel longer than that, it is the shortest time from a push to its answer: whoever
        comes last waits for nobody. (How long the rounds took would not do: with a late replica
        in each, that is its own time.)
        """
        walk_s = median_low(self._walks.values()) if self._walks else 0.0
        return max(walk_s, min(self._exchanges.values(), default=0.0), self._quorum_s or 0.0)

    def told(self, rank: int, walk_s: float, exchange_s: float | None) -> None:
        """What a replica that is waited for says of itself."""
        self._walks[rank] = walk_s
        if exchange_s is not None:
            self._exchanges[rank] = exchange_s

    def forget(self, rank: int) -> None:
        """A replica is gone."""
        self._walks.pop(rank, None)
        self._exchanges.pop(rank, None)

    def open(self, now: float, steps: int = 1) -> None:
        """A round of so many mini-batches opens; what is remembered is of rounds as long."""
        longer = steps / self._steps
        if longer != 1.0:
            self._took = deque((longer * took for took in self._took), maxlen=REMEMBERED)
            self._first_s *= longer
            self._walks = {rank: longer * walk_s for rank, walk_s in self._walks.items()}
        self.opened, self._quorum_s, self._steps = now, None, steps

    def quorum(self, now: float) -> None:
        """A quorum has answered; only the first word of it counts."""
        if self._quorum_s is None:
            self._quorum_s = now - self.opened

    def close(self, now: float) -> None:
        """The round closes."""
        took, patience = now - self.opened, self._patience
        if not self._took:
            self._first_s = took
        elif took > self._tolerated_s:
            self.purse_s = max(0.0, self.purse_s - took + self.needed_s)
        self.purse_s = min(self.purse_s + patience.share * took, patience.full_s)
        self._took.append(took)

    @property
    def deadline(self) -> float:
        """When the open round waits no longer; infinite as long as there is no quorum."""
        if self._quorum_s is None:
            return math.inf
        purse_s = self.purse_s if self._took else self._patience.full_s
        return self.opened + max(self._tolerated_s, self.needed_s + purse_s)

    @property
    def _tolerated_s(self) -> float:
        return max(self._patience.grace_s, self._patience.factor * self.needed_s)

    def silence_s(self, slowest_s: float | None) -> float:
        """How long a replica may be silent whose slowest answer took so long.

        One that has not answered yet may need what the first round of the run needed, in which
        models are compiled; before that round has closed nobody is taken for dead.
        """
        own = self._first_s if slowest_s is None else slowest_s
        return self._patience.silence_s(max(self.usual_s, own))
