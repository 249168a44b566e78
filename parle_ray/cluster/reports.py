"""What the coordinator streams, read so that the driver can look up between two rounds."""

from collections.abc import Iterator
from typing import Any

import ray

LOOK_UP_S = 0.25
"""A signal's handler and the supervisor's other duties wait as long at most."""


def read(stream: ray.ObjectRefGenerator) -> Iterator[dict[str, Any]]:
    """The reports; an empty one each time that there was none for a while."""
    while True:
        ready, _ = ray.wait([stream], timeout=LOOK_UP_S)
        if not ready:
            yield {}
            continue
        try:
            yield ray.get(next(stream))
        except StopIteration:
            return
