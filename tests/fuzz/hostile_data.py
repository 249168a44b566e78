"""Files of image sets with absurd headers, bombs and programs in them, one to a set."""

import gzip
import pickle
import struct
import zlib
from collections.abc import Iterator
from typing import Any

MNIST = [
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
]
CIFAR10 = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
ZEROS = gzip.compress(bytes(2**20))


def table(canary: object) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """(what it is, the name of the set, path below the data root -> bytes)."""
    for what, raw in _idx():
        yield f"IDX: {what}", "mnist", _all(MNIST, "MNIST/raw/", "", raw)
    for what, raw in _gzip():
        yield f"IDX: {what}", "mnist", _all(MNIST, "mnist/", ".gz", raw)
    for what, raw in _pickles(canary):
        yield f"pickle: {what}", "cifar10", _all(CIFAR10, "cifar-10-batches-py/", "", raw)
        yield f"pickle: {what}", "cifar100", _all(["train", "test"], "cifar-100-python/", "", raw)
    for what, raw in _binary():
        yield f"binary: {what}", "cifar10", _all(CIFAR10, "cifar-10-batches-bin/", ".bin", raw)
    for what, raw in _matlab():
        files = _all(["train_32x32", "test_32x32"], "svhn/", ".mat", raw)
        yield f"MATLAB: {what}", "svhn", files


def _all(names: list[str], folder: str, suffix: str, raw: bytes) -> dict[str, bytes]:
    return {f"{folder}{name}{suffix}": raw for name in names}


def _idx() -> Iterator[tuple[str, bytes]]:
    head = bytes([0, 0, 8, 3])
    yield "nothing", b""
    yield "half a header", head
    yield "negative sizes", head + struct.pack(">3i", -1, 28, 28)
    yield "two negative sizes", head + struct.pack(">3i", -1, -28, 28) + bytes(784)
    yield "the largest sizes", head + struct.pack(">3i", *[2**31 - 1] * 3)
    yield "sizes whose product overflows to 0", head + struct.pack(">3i", 2**30, 2**30, 2**4)
    yield "no image, of the largest size", head + struct.pack(">3i", 0, 2**31 - 1, 2**31 - 1)
    yield "255 dimensions", bytes([0, 0, 8, 255]) + bytes(2000)
    yield "floats", bytes([0, 0, 13, 3]) + struct.pack(">3i", 1, 1, 1) + bytes(4)
    yield "one image of the right kind", head + struct.pack(">3i", 1, 28, 28) + bytes(784)
    yield "a script", b"#!/bin/sh\nexit 1\n"


def _gzip() -> Iterator[tuple[str, bytes]]:
    yield "no gzip", b"x" * 100
    yield "half a gzip", ZEROS[:500]
    yield "a wrong checksum", ZEROS[:-8] + bytes(8)
    yield "a gzip of another thing", ZEROS
    yield "1 GB in 1 MB", ZEROS * 1024
    yield "a gzip in a gzip", gzip.compress(ZEROS)


def _pickles(canary: object) -> Iterator[tuple[str, bytes]]:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"a program, protocol {protocol}", pickle.dumps(canary, protocol)
    yield "a program as data", pickle.dumps({"data": canary, "labels": [0]}, 2)
    yield "a program in a list", pickle.dumps([[[canary]]], 4)
    yield "eval", b"cbuiltins\neval\n(V__import__('os').system('true')\ntR."
    yield "a name with dots", b"\x80\x04\x8c\x05numpy\x8c\x11testing.rundocs\x93."
    yield "an extension", b"\x80\x02\x82\x01."
    yield "a persistent id", b"Pos.system\n."
    yield "memory for place 4294967295", b"\x80\x02Nr\xff\xff\xff\xff."
    yield "text of 2 EB", b"\x80\x04\x8d" + struct.pack("<Q", 2**61) + b"x."
    yield "bytes of 1 TB", b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x."
    yield "a frame of 1 TB", b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N."
    yield "10,000 copies of 1 MB", _copies()
    yield "100,000 lists in one another", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    yield "nothing to pop", b"\x80\x02000."
    yield "no end", b"\x80\x02N" * 1000
    yield "a list", pickle.dumps([1, 2])
    yield "labels that are no numbers", pickle.dumps({"data": 1, "labels": ["9" * 5000]}, 2)
    yield "data that are no array", pickle.dumps({"data": [[0] * 3072], "labels": [0]}, 2)


def _copies() -> bytes:
    """encode(text, "latin1") again and again, each of which makes a megabyte."""
    text = b"X" + struct.pack("<I", 2**20) + b"x" * 2**20
    start = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x02000("
    return start + b"h\x00h\x01h\x02\x86R" * 10_000 + b"l."


def _binary() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "a byte", b"\0"
    yield "one record", bytes(3073)
    yield "a byte too many", bytes(3074)


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _array(name: bytes, sizes: list[int], values: bytes, kind: int = 2) -> bytes:
    body = _element(6, struct.pack("<II", 9, 0))
    body += _element(5, struct.pack(f"<{len(sizes)}i", *sizes))
    return _element(14, body + _element(1, name) + _element(kind, values))


def _matlab() -> Iterator[tuple[str, bytes]]:
    bomb = _bomb()
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    files: dict[str, Any] = {
        "a header alone": b"",
        "an element of 4 GB": struct.pack("<II", 14, 2**32 - 1),
        "sizes whose product overflows": _array(b"X", [2**30, 2**30, 16], b""),
        "negative sizes": _array(b"X", [-1, -1, 3, 1], bytes(3)),
        "no sizes": _array(b"X", [], bytes(3)),
        "a name that is no ASCII": _array(b"\xff\xfe", [1], b"x"),
        "an unknown type": _array(b"X", [1], bytes(8), kind=99),
        "labels that are no numbers": _array(b"X", [32, 32, 3, 1], bytes(3072))
        + _array(b"y", [1, 1], struct.pack("<d", float("nan")), kind=9),
        "1 GB in 1 MB": struct.pack("<II", 15, len(bomb)) + bomb,
        "what is packed is torn": struct.pack("<II", 15, 20) + bomb[:20],
        "arrays in arrays": _nested(200),
    }
    for what, raw in files.items():
        yield what, head + raw
    yield "no MATLAB file", b"x" * 200
    yield "another byte order", head[:126] + b"MI" + bytes(8)


def _nested(depth: int) -> bytes:
    raw = b""
    for _ in range(depth):
        raw = _element(14, raw)
    return raw


def _bomb() -> bytes:
    """1 GB of zeros in 1 MB."""
    packer = zlib.compressobj()
    first, again = (
        packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + 1023 * again
