"""What the coordinator streams, taken as it comes, whatever the driver does meanwhile."""

import threading
from collections.abc import Generator
from queue import Empty, SimpleQueue
from typing import Any

import ray

LOOK_UP_S = 0.25
"""A signal's handler and the supervisor's other duties wait as long at most."""
AHEAD = {"_generator_backpressure_num_objects": 1}
"""Options of the stream: the coordinator closes a round only when the report of the one before is
here, and replicas hold the last two masters. So if it is lost, no report is lost with it."""

Taken = SimpleQueue[tuple[dict[str, Any] | None, Exception | None]]


def read(stream: ray.ObjectRefGenerator) -> Generator[dict[str, Any], None, None]:
    """The reports; an empty one each time that there was none for a while.

    A thread takes them, for the coordinator must not wait until the driver has time for one.
    """
    taken: Taken = SimpleQueue()
    over = threading.Event()
    taker = threading.Thread(target=_take, args=(stream, taken, over), name="reports", daemon=True)
    taker.start()
    try:
        while True:
            try:
                report, error = taken.get(timeout=LOOK_UP_S)
            except Empty:
                yield {}
                continue
            if error is not None:
                raise error
            if report is None:
                return
            yield report
    finally:
        over.set()
        taker.join(4 * LOOK_UP_S)


def _take(stream: ray.ObjectRefGenerator, taken: Taken, over: threading.Event) -> None:
    try:
        while not over.is_set():
            if ray.wait([stream], timeout=LOOK_UP_S)[0]:
                taken.put((ray.get(next(stream)), None))
    except StopIteration:
        taken.put((None, None))
    except Exception as error:
        taken.put((None, error))
