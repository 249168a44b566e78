"""A disk that is full for some seconds, as the driver of a run meets it."""

import errno
import os
import time
from collections.abc import Callable
from typing import Any

from parle_ray.runs.storage import Folder, LocalFolder, RemoteFolder

VERBS = ("append", "write", "keep")
"""Of folders, that take space."""


def fill(seconds: float, on_first: Callable[[], None]) -> None:
    """Let whatever is written fail from now on, until `seconds` after the first that has.

    Args:
        on_first: is called when the first fails.
    """
    real = {
        (kind, verb): vars(kind)[verb]
        for kind in (LocalFolder, RemoteFolder)
        for verb in VERBS
        if verb in vars(kind)
    }
    until: list[float] = []

    def is_full() -> bool:
        if not until:
            until.append(time.monotonic() + seconds)
            on_first()
        if time.monotonic() < until[0]:
            return True
        for (kind, verb), method in real.items():
            setattr(kind, verb, method)
        return False

    def refusing(method: Callable[..., Any]) -> Callable[..., Any]:
        def write(folder: Folder, name: str, *args: Any) -> Any:
            if is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{folder}/{name}")
            return method(folder, name, *args)

        return write

    for (kind, verb), method in real.items():
        setattr(kind, verb, refusing(method))
