"""SIGINT and SIGTERM while a run goes on: the first ends it in order, the second at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

TAKEN = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers, clouds and `ray job stop` send before they kill."""


class Signals:
    """A context in which a signal is noted first, so that a run can end in order.

    It is raised when the context ends, as the exception of `ending`; at once if it is the second
    one, or if nobody has asked for the `reason` to end yet, as there is nothing to bring to an
    end. A third one meets the system's own handler. The handlers of before are put back; a signal
    that was ignored stays ignored. Python handles signals in its main thread: in another, nothing
    is installed.

    Attributes:
        caught: the signal that came, or None.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in TAKEN:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.caught is not None and error is None:
            raise ending(self.caught)

    def reason(self) -> str | None:
        """The signal that came, if one did; from now on the run will see to it."""
        self._asked = True
        return None if self.caught is None else f"{self.caught.name} (once more ends at once)"

    def _take(self, number: int, frame: FrameType | None) -> None:
        again, self.caught = self.caught is not None, signal.Signals(number)
        if again or not self._asked:
            for taken in self._before:
                signal.signal(taken, signal.SIG_DFL)
            raise ending(self.caught)


def ending(number: signal.Signals) -> BaseException:
    """What Python raises for SIGINT, and the exit status of a shell, 143, for SIGTERM."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
