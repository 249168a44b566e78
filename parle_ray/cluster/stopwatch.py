"""What the exchange costs a replica: the time it does not compute, and the time until an answer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Follows one replica. All that lies between two rounds counts as stall: the copy of the push
    into the object store, and the wait for the next question."""

    def __init__(self) -> None:
        self._pushed_at: dict[int, float] = {}
        self._left_at: float | None = None
        self._began_at = self._waited_s = 0.0
        self._stall_s = 0.0
        self._exchange_s: float | None = None

    def goes_on(self) -> None:
        """A round begins."""
        self._began_at, self._waited_s = time.perf_counter(), 0.0
        if self._left_at is not None:
            self._stall_s += self._began_at - self._left_at

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it the replica waits."""
        before = time.perf_counter()
        try:
            yield
        finally:
            waited_s = time.perf_counter() - before
            self._waited_s += waited_s
            self._stall_s += waited_s

    def pushes(self, round: int) -> None:
        """The push of `round` is computed; from here on the replica stands still."""
        self._left_at = time.perf_counter()
        self._pushed_at[round] = self._left_at

    def answered(self, round: int) -> None:
        """The reply that opens `round`, which answers the push before, is here."""
        asked = [self._pushed_at.pop(k) for k in sorted(self._pushed_at) if k < round]
        if asked:
            self._exchange_s = time.perf_counter() - asked[-1]

    def told(self) -> dict[str, float | None]:
        """`stall_s` since this was last asked, `exchange_s`, the last one that ended, and `walk_s`,
        what this round has taken so far without waiting."""
        walk_s = time.perf_counter() - self._began_at - self._waited_s
        told = {"stall_s": self._stall_s, "exchange_s": self._exchange_s, "walk_s": walk_s}
        self._stall_s = 0.0
        return told
