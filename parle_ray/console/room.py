"""Disk for runs, and shared memory for Ray's object store: `doctor` looks for room."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from parle_ray.console.finding import Finding

SHARED_MEMORY = Path("/dev/shm")
GB = 1e9
STORE_PART = 0.3
"""Of the memory, which Ray's object store takes unless told."""
STORE_LEAST = 10 * GB
"""What Ray does not shrink it below for want of shared memory."""


def space() -> Iterator[Finding]:
    """Disk for runs and shared memory for the object store."""
    for path, what in ((Path.home(), "runs and checkpoints"), (Path("/tmp"), "Ray's session")):
        free = shutil.disk_usage(path).free
        text = f"{path}: {free / GB:.1f} GB free for {what}"
        if free < 5 * GB:
            yield Finding("warn", text, "make room, at least 5 GB")
        else:
            yield Finding("ok", text)
    if SHARED_MEMORY.exists():
        yield _store(shutil.disk_usage(SHARED_MEMORY).free, memory())


def memory() -> int:
    """Bytes of this machine, or of the container that we are in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return physical


def _store(shared: float, total: float) -> Finding:
    """Whether the object store that Ray makes by itself has room in shared memory."""
    wanted = min(STORE_PART * total, max(STORE_LEAST, 0.95 * shared))
    text = (
        f"{SHARED_MEMORY}: {shared / GB:.1f} GB free for Ray's object store of {wanted / GB:.1f} GB"
    )
    size = int(wanted / GB) + 2
    if shared >= wanted:
        return Finding("ok", text)
    return Finding(
        "warn",
        f"{text}: Ray will put it on the disk, in /tmp",
        f"docker run --shm-size={size}g, mount -o remount,size={size}G /dev/shm, or ray start "
        "--object-store-memory with less than is free",
    )
