"""MATLAB 5 files, as far as SVHN needs them: named numeric arrays, compressed or not.

A file is a header of 128 bytes and elements. An element is a tag (type, number of bytes) and the
bytes, padded to 8; a small one packs both numbers and up to 4 bytes into 8. An array (miMATRIX) is
four elements: flags, dimensions, name, values in Fortran order. So SVHN needs no SciPy.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parle_ray.data.content import LARGEST, content
from parle_ray.errors import InputError

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """The arrays called `names`, in the type they are stored in.

    Raises:
        InputError: not a little-endian MATLAB 5 file, truncated, or an array is missing.
    """
    raw = content(path)
    if len(raw) < 128 or raw[126:128] != b"IM":
        raise InputError(f"{path}: no MATLAB 5 file (bytes 126-127 must be 'IM'). Replace it.")
    found: dict[str, NDArray[np.generic]] = {}
    try:
        for kind, data in _elements(memoryview(raw)[128:]):
            if kind == _COMPRESSED:
                kind, data = next(_elements(memoryview(_unpacked(data))))
            if kind == _MATRIX:
                name, array = _matrix(data)
                found[name] = array
    except (struct.error, zlib.error, KeyError, ValueError, StopIteration) as error:
        raise InputError(f"{path}: broken MATLAB file ({error}). Truncated? Replace it.") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{path}: no array {missing[0]!r} in it, only {sorted(found)}.")
    return {name: found[name] for name in names}


def _unpacked(data: memoryview) -> bytes:
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(data, LARGEST)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError(f"an element is cut off, or unpacks to more than {LARGEST:,} bytes")
    return raw


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, bytes) of each element."""
    at = 0
    while at < len(data):
        (first,) = struct.unpack_from("<I", data, at)
        if first >> 16:  # small: the number of bytes sits above the type
            kind, size, begin, end = first & 0xFFFF, first >> 16, at + 4, at + 8
        else:
            kind, size = struct.unpack_from("<II", data, at)
            begin = at + 8
            end = begin + size + (-size % 8 if kind != _COMPRESSED else 0)
        if begin + size > len(data):
            raise ValueError(f"an element of {size} bytes ends after the data")
        yield kind, data[begin : begin + size]
        at = end


def _matrix(data: memoryview) -> tuple[str, NDArray[np.generic]]:
    parts = _elements(data)
    next(parts)  # flags: class of the array; the values carry their own type
    shape = np.frombuffer(next(parts)[1], "<i4")
    name = bytes(next(parts)[1]).decode("ascii")
    kind, values = next(parts)
    return name, np.frombuffer(values, "<" + _NUMBERS[kind]).reshape(shape, order="F")
