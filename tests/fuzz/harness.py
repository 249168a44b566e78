"""Runs a case under a time limit, and says how it ended and whether it ran foreign code."""

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

LIMIT_S = 10.0
"""A case that takes longer hangs; most take milliseconds."""
FORBIDDEN = {
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen"),
    *("pickle.find_class", "socket.connect"),
}
"""Audit events of Python that no reader of ours has a reason for."""

Case = tuple[str, Callable[[], str]]
"""A description, and what to run: it returns how the case ended or raises."""


class TooLong(BaseException):
    """The time limit of a case; no `except Exception` swallows it."""


@dataclass
class Tally:
    """How the cases ended.

    Attributes:
        ends: words that the cases returned, such as "read" and "refused", with their numbers.
        count: of the cases.
        failures: `(description, what happened)` of each case that should not have ended so.
    """

    ends: Counter[str] = field(default_factory=Counter)
    count: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def run(cases: Iterable[Case]) -> Tally:
    """Run all cases."""
    tally = Tally()
    for description, case in cases:
        events: list[str] = []
        tally.count += 1
        try:
            with _limited(), _watched(events):
                tally.ends[case()] += 1
        except (Exception, TooLong) as error:
            tally.failures.append((description, f"{type(error).__name__}: {error}"))
        if events:
            tally.failures.append((description, f"it ran {', '.join(events)}"))
    return tally


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"longer than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_listeners: list[list[str]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _listeners and event in FORBIDDEN:
        _listeners[-1].append(event)


sys.addaudithook(_hear)


@contextmanager
def _watched(events: list[str]) -> Iterator[None]:
    _listeners.append(events)
    try:
        yield
    finally:
        _listeners.pop()
