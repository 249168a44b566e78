"""The sources of Python's own library, as a text that every installation of Python has."""

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from parle_ray.data.content import content
from parle_ray.data.text_set import TextSet
from parle_ray.errors import InputError

NAME = "python_stdlib"
CONTEXT = 128
HELD_OUT = 26
"""Of 256 files so many are held out, by the first byte of the SHA-256 of their names."""
EVALUATED = 512
"""Examples of them that are evaluated, evenly spread: an evaluation takes seconds, not minutes."""
LEAST = 2**20
"""Bytes; a library with less of its sources is none to learn from."""

APART = {"site-packages", "dist-packages", "test", "tests", "__pycache__", "lib-dynload"}
APART |= {"idlelib", "turtledemo", "tkinter", "lib2to3", "distutils", "ensurepip"}
APART |= {"encodings", "pydoc_data"}
"""Folders that are left out: other packages, what some systems install apart, tables."""
MADE = ("_sysconfigdata", "sitecustomize", "usercustomize", "_distutils")
"""Files that are left out: what the builder of a Python puts there."""


def load_python_library(
    context: int | None = None, root: Path | None = None
) -> tuple[TextSet, TextSet]:
    """(train, held out): the library's sources, a tenth of its files held out.

    Files are in the order of the SHA-256 of their names, so that any stretch is a mix, and a file
    is in the same half in every version of Python. The bytes differ between versions: the sets say
    the SHA-256 of all of them.

    Args:
        context: bytes of an example; None is 128.
        root: the library's folder; None is that of the Python that runs.

    Raises:
        InputError: there are no sources there, as in a Python without files of its own.
    """
    root = Path(sysconfig.get_path("stdlib")) if root is None else root
    read: dict[bool, list[bytes]] = {True: [], False: []}
    digest = hashlib.sha256()
    named = sorted((hashlib.sha256(name.encode()).digest(), name) for name in source_files(root))
    for key, name in named:
        source = content(root / name)
        digest.update(source)
        read[key[0] < HELD_OUT].append(source)
    size = sum(len(source) for half in read.values() for source in half)
    if size < LEAST or not read[True]:
        raise InputError(
            f"{NAME}: {root} has {size:,} bytes of Python's own sources, at least {LEAST:,} are "
            "needed; run this with a CPython that has its library as files, or train on digits"
        )
    described = {
        "name": NAME,
        "digest": digest.hexdigest(),
        "source": f"{len(named)} files of Python {platform.python_version()}, {size / 1e6:.1f} MB",
    }
    context = CONTEXT if context is None else context
    train, test = (
        TextSet.cut(b"\n".join(read[held_out]), context, **described) for held_out in (False, True)
    )
    num = min(EVALUATED, len(test))
    return train, test.take(np.arange(num) * len(test) // num)


def source_files(root: Path) -> Iterator[str]:
    """The names below root of the files that are read, with `/` between their parts."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in APART and "-" not in name]
        for name in files:
            path = Path(folder, name)
            if name.endswith(".py") and not name.startswith(MADE) and path.is_file():
                yield path.relative_to(root).as_posix()
