"""The file formats of the image sets, parsed with NumPy; each says which file is broken."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parle_ray.data.cifar_pickle import read_batch
from parle_ray.data.content import LARGEST, content
from parle_ray.data.mat import read_mat
from parle_ray.errors import InputError

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]  # images (N, C, H, W), labels (N,)


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """An IDX array of bytes (MNIST's format), plain or .gz.

    Layout: two zero bytes, 0x08 (unsigned byte), the number of dimensions, each dimension as a
    big-endian int32, then the bytes.

    Raises:
        InputError: not that format, or shorter or longer than its header says.
    """
    try:
        raw = _unpacked(path) if path.suffix == ".gz" else content(path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise broken(path, f"cannot be unpacked ({error})") from error
    head = 4 + 4 * ndim
    if len(raw) < head or raw[:4] != bytes([0, 0, 8, ndim]):
        raise broken(path, f"does not begin as an IDX file of {ndim} dimensions of bytes")
    shape = tuple(int(size) for size in np.frombuffer(raw, ">i4", ndim, offset=4))
    expected = head + math.prod(shape)
    if min(shape) < 0 or len(raw) != expected:
        raise broken(path, f"has {len(raw)} bytes, its header promises {expected}")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def read_idx_pair(images: Path, labels: Path) -> Arrays:
    """Grey images (N, 1, H, W) with their labels.

    Raises:
        InputError: a file is broken, or the two do not belong together.
    """
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(classes):
        raise broken(labels, f"has {len(classes)} labels for {len(pixels)} images in {images.name}")
    return pixels[:, None], classes.astype(np.int64)


def read_cifar_binary(path: Path, label_bytes: int) -> Arrays:
    """CIFAR's binary version: records of `label_bytes` labels (the last is used) + 3072 pixels.

    Raises:
        InputError: the file is empty or does not end with a whole record.
    """
    raw = np.frombuffer(content(path), np.uint8)
    size = label_bytes + 3072
    if len(raw) == 0 or len(raw) % size:
        raise broken(path, f"has {len(raw)} bytes, not a multiple of a record of {size}")
    records = raw.reshape(-1, size)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1].astype(
        np.int64
    )


def read_cifar_pickle(path: Path, label_key: str) -> Arrays:
    """CIFAR's Python version, through an unpickler that can build nothing but its plain data.

    Raises:
        InputError: the file asks for anything else, is truncated, or has another shape.
    """
    pixels, labels = read_batch(path, label_key)
    if pixels.ndim != 2 or pixels.shape != (len(labels), 3072):
        raise broken(path, f"has images of shape {pixels.shape} for {len(labels)} labels")
    return pixels.reshape(-1, 3, 32, 32), labels


def read_svhn(path: Path) -> Arrays:
    """SVHN's MATLAB file: X (32, 32, 3, N) and y (N, 1), where class 10 is the digit 0.

    Raises:
        InputError: not such a file.
    """
    arrays = read_mat(path, ("X", "y"))
    pixels, classes = arrays["X"], arrays["y"].reshape(-1)
    if classes.dtype.kind == "f" and not np.isin(classes, range(11)).all():
        raise broken(path, "has labels that are no classes")
    labels = classes.astype(np.int64)
    labels[labels == 10] = 0
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)):
        raise broken(path, f"has X of shape {pixels.shape} for {len(labels)} labels")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise broken(path, f"unpacks to more than {LARGEST:,} bytes")
    return raw


def broken(path: Path, what: str) -> InputError:
    """The error for a file that is not what its name says."""
    return InputError(f"{path}: {what}. Truncated or not this data set? Delete or replace it.")
