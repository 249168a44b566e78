"""A signal is heard first and obeyed at the second time; a run that ends late ends all the same."""

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from parle_ray.cluster.ending import GRACE_S, Ending
from parle_ray.signals import TAKEN, Signals


def of_before(number: int, frame: object) -> None:
    """A handler that the user's script may have had."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    kept = {number: signal.signal(number, of_before) for number in TAKEN}
    yield
    assert [signal.getsignal(number) for number in TAKEN] == [of_before, of_before]
    for number, handler in kept.items():
        signal.signal(number, handler)


def end_of(run: Callable[[Signals], object]) -> tuple[type[BaseException], tuple[object, ...]]:
    """How a run under `Signals` ends: the exception's type and arguments."""
    try:
        with Signals() as signals:
            run(signals)
    except BaseException as error:
        return type(error), error.args
    raise AssertionError("no exception")


each_signal = pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, (KeyboardInterrupt, ())), (signal.SIGTERM, (SystemExit, (143,)))],
)


@each_signal
def test_the_first_is_noted_and_raised_when_the_run_has_ended(number, end) -> None:
    reached = []

    def run(signals: Signals) -> None:
        assert signals.reason() is None
        signal.raise_signal(number)
        reached.append(signals.reason())

    assert end_of(run) == end
    assert reached == [f"{number.name} (once more ends at once)"]


@each_signal
def test_the_second_ends_at_once(number, end) -> None:
    def run(signals: Signals) -> None:
        signals.reason()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(number)
        raise AssertionError("not at once")

    assert end_of(run) == end


@each_signal
def test_while_there_is_nothing_to_bring_to_an_end_the_first_ends_at_once(number, end) -> None:
    def run(signals: Signals) -> None:
        signal.raise_signal(number)
        raise AssertionError("not at once")

    assert end_of(run) == end


def test_an_error_on_the_way_is_not_hidden_by_the_signal() -> None:
    def run(signals: Signals) -> None:
        signals.reason()
        signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError

    assert end_of(run) == (ZeroDivisionError, ())


def test_what_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
    assert signals.reason() is None
    assert signal.signal(signal.SIGINT, of_before) == signal.SIG_IGN


def test_outside_the_main_thread_nothing_is_installed() -> None:
    seen = []

    def fit() -> None:
        with Signals():
            seen.append([signal.getsignal(number) for number in TAKEN])

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert seen == [[of_before, of_before]]


def test_a_run_is_asked_to_end_once_and_given_up_after_the_grace() -> None:
    told: list[str] = []
    now, reason = 100.0, None
    ending = Ending(lambda: reason, lambda: told.append("end"), told.append, lambda: now)
    assert not ending.overdue()
    assert not told
    reason = "SIGTERM"
    assert not ending.overdue()
    now += GRACE_S - 1
    assert not ending.overdue()
    assert told[0].startswith("SIGTERM: ending with the open round")
    assert told[1:] == ["end"]
    now += 1
    assert ending.overdue()
    assert "is lost" in told[-1]
