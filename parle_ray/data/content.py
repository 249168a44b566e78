"""The bytes of a data file, unless there are more of them than any set of ours has."""

from pathlib import Path

from parle_ray.errors import InputError

LARGEST = 2**28
"""Of a file, or of what it unpacks to; the largest that there is unpacks to 225 MB."""


def content(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        InputError: it is larger than `LARGEST`.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise InputError(
            f"{path}: has {size:,} bytes, at most {LARGEST:,} are read. Not this data set? "
            "Replace it."
        )
    return path.read_bytes()
