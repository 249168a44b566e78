"""The end of a run before its last round: in order if that does not take too long."""

import time
from collections.abc import Callable

GRACE_S = 30.0
"""How long the open round and its cut may take: clouds give a machine this long, or more."""


class Ending:
    """Sees to it that a run ends once there is a reason to.

    Args:
        reason: the reason, or None while there is none.
        end: asks the coordinator to end with the open round; once, and by `again`.
        say: takes a line for the user.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        reason: Callable[[], str | None],
        end: Callable[[], object],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reason, self._end, self._say, self._clock = reason, end, say, clock
        self._since: float | None = None

    def again(self) -> None:
        """Another coordinator is there, which does not know yet."""
        if self._since is not None:
            self._end()

    def overdue(self) -> bool:
        """Whether the grace is over; to be called again and again."""
        reason = self._reason()
        if reason is None:
            return False
        if self._since is None:
            self._since = self._clock()
            self._say(f"{reason}: ending with the open round and a checkpoint")
            self._end()
        if self._clock() - self._since < GRACE_S:
            return False
        self._say(f"no round has ended in {GRACE_S:g} s; what no checkpoint has is lost")
        return True
