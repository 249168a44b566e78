"""CIFAR's Python batches read without trusting them: a pickle that can only become plain data.

A pickle is a program. This unpickler lets it name four things and hands it inert stand-ins for
them: an array is a note of its shape and bytes, made into a NumPy array afterwards. So nothing
that a file asks for is ever imported or called, not even NumPy's own `__setstate__`.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parle_ray.data.content import content
from parle_ray.errors import InputError, printable


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


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _PlainUnpickler(pickle.Unpickler):
    """Makes no more bytes than there are in the file."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw), encoding="bytes")
        self._left = len(raw)

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        """How Python 3 writes bytes in protocol 2: encode(text, "latin1")."""
        self._left -= len(text)
        if self._left < 0:
            raise pickle.UnpicklingError("it makes more bytes than it has")
        return str(text).encode("latin1")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def read_batch(path: Path, label_key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(images as written, shape (N, 3072); labels under `label_key`, shape (N,)).

    Raises:
        InputError: the file is no CIFAR batch, or asks for anything but plain data.
    """
    try:
        raw = content(path)
        _check_memo(raw)
        batch = _PlainUnpickler(raw).load()
        if not isinstance(batch, dict):
            raise pickle.UnpicklingError("it holds no dict")
        fields = {key.decode() if isinstance(key, bytes) else key: batch[key] for key in batch}
        labels = np.array([int(label) for label in fields[label_key]], np.int64)
        return _bytes_array(fields["data"]), labels
    except InputError:
        raise
    # A broken pickle can raise nearly anything: opcodes, lookups, conversions, decoding, memory.
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path}: refused as a CIFAR batch ({printable(what)}). Truncated or not "
            "this data set? Replace it, or use the binary version of CIFAR."
        ) from error


def _check_memo(raw: bytes) -> None:
    """The unpickler makes room up to the highest place that a file names."""
    for opcode, place, _ in pickletools.genops(raw):
        if opcode.name.endswith("PUT") and int(str(place)) > len(raw):
            raise pickle.UnpicklingError(f"it remembers a value at place {place}")


def _bytes_array(noted: Any) -> NDArray[np.uint8]:
    _, shape, dtype, fortran, raw = noted.state
    if dtype.code not in (b"u1", "u1") or fortran or not isinstance(raw, bytes):
        raise pickle.UnpicklingError("its data is no plain array of bytes")
    return np.frombuffer(raw, np.uint8).reshape([int(size) for size in shape])
