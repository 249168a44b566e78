"""CIFAR's Python batches read without trusting them: a pickle that can only become plain data.

A pickle is a program. This unpickler lets it name four things and hands it inert stand-ins for
them: an array is a note of its shape and bytes, made into a NumPy array afterwards. So nothing
that a file asks for is ever imported or called, not even NumPy's own `__setstate__`.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parle_ray.errors import InputError


class _Array:
    """What the file says about an array, unchecked: (version, shape, dtype, fortran, bytes)."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype:
    """What the file says about a dtype: its code, `u1` for bytes."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes in protocol 2: encode(text, "latin1")."""
    return str(text).encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def read_batch(path: Path, label_key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(images as written, shape (N, 3072); labels under `label_key`, shape (N,)).

    Raises:
        InputError: the file is no CIFAR batch, or asks for anything but plain data.
    """
    try:
        with path.open("rb") as file:
            batch = _PlainUnpickler(file, encoding="bytes").load()
        if not isinstance(batch, dict):
            raise pickle.UnpicklingError("it holds no dict")
        fields = {key.decode() if isinstance(key, bytes) else key: batch[key] for key in batch}
        labels = np.array([int(label) for label in fields[label_key]], np.int64)
        return _bytes_array(fields["data"]), labels
    except InputError:
        raise
    # A broken pickle can raise nearly anything: opcodes, lookups, conversions, decoding, memory.
    except Exception as error:
        raise InputError(
            f"{path}: refused as a CIFAR batch ({type(error).__name__}: {error}). Truncated or not "
            "this data set? Replace it, or use the binary version of CIFAR."
        ) from error


def _bytes_array(noted: Any) -> NDArray[np.uint8]:
    _, shape, dtype, fortran, raw = noted.state
    if dtype.code not in (b"u1", "u1") or fortran or not isinstance(raw, bytes):
        raise pickle.UnpicklingError("its data is no plain array of bytes")
    return np.frombuffer(raw, np.uint8).reshape([int(size) for size in shape])
