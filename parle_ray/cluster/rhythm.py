"""When something that costs time is due."""

import time


class Rhythm:
    """Due every so many rounds, or about once a minute where no number is given.

    Each round is decided once, when it is first asked about, so that all replicas agree.

    Args:
        every: rounds, or None.
        last: the last round, which is always due.
        period_s: seconds between two that are due, where `every` is None.
    """

    def __init__(self, every: int | None, last: int, period_s: float = 60.0) -> None:
        self._every, self._last, self._period_s = every, last, period_s
        self._decided: dict[int, bool] = {}
        self._at = time.monotonic()
        self._soon = False

    def soon(self) -> None:
        """Due at the next round that is not decided yet, whichever it is."""
        self._soon = True

    def due(self, round: int) -> bool:
        """Whether it is due at the close of what makes `round` rounds."""
        if round not in self._decided:
            if self._every is not None:
                due = round % self._every == 0
            else:
                due = time.monotonic() - self._at >= self._period_s
            due |= self._soon
            self._soon = False
            if due:
                self._at = time.monotonic()
            self._decided = {k: v for k, v in self._decided.items() if k >= round - 2}
            self._decided[round] = due or round == self._last
        return self._decided[round]
