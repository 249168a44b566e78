"""Whether a run has as many replicas as it was promised, and how long it does with fewer."""

import time
from collections.abc import Callable

LINE_S = 30.0
"""How often the user is told."""
ENOUGH_S = 600.0
"""A run that has had too few replicas for so long is ended."""


class Strength:
    """Looks at the number of replicas again and again.

    Args:
        least: as many are enough.
        say: takes a line for the user.
        clock: seconds; for tests.
    """

    def __init__(
        self, least: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._least, self._say, self._clock = least, say, clock
        self._since: float | None = None
        self._told_at = 0.0

    def look(self, present: int) -> None:
        """So many are there."""
        if present >= self._least:
            self._since = None
            return
        now = self._clock()
        if self._since is None:
            self._since = self._told_at = now
        if now - self._told_at >= LINE_S:
            self._told_at = now
            self._say(
                f"{present} of at least {self._least} replicas for {now - self._since:.0f} s: "
                "waiting for room on the cluster"
            )

    def reason(self) -> str | None:
        """Why the run has to end, if it has to."""
        if self._since is None or self._clock() - self._since < ENOUGH_S:
            return None
        return f"fewer than {self._least} replicas for {ENOUGH_S / 60:.0f} minutes"
