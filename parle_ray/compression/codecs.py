"""A codec turns a flat float vector into one array of fewer bytes, and back.

The arithmetic is float32. Vectors are walked in chunks that fit a core's second-level cache, and
the code of a vector is the codes of its chunks one after another: a chunk can be coded while it
is still warm from whatever made it. Nothing is random, and every machine decodes the same bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from parle_ray.errors import InputError

CHUNK = 65536
"""Values at a time: 256 KiB of float32."""


class Codec(ABC):
    """A way to code a vector. Holds buffers: one object for one thread at a time."""

    name: ClassVar[str]

    @abstractmethod
    def encoded_bytes(self, num_params: int, dtype: torch.dtype = torch.float32) -> int:
        """The size of the code of a vector of `dtype`."""

    @abstractmethod
    def encode(self, vector: Tensor) -> np.ndarray:
        """The code of a float vector `(num_params,)`: one array, 1-D and contiguous.

        What is not finite in float32 comes out as something that is not finite.
        """

    @abstractmethod
    def decode(self, array: np.ndarray, num_params: int, out: Tensor | None = None) -> Tensor:
        """The vector `(num_params,)`, written to `out`, on the CPU, of any float dtype.

        `array` is only read. Without `out` the vector is new, and its memory is its own.

        Raises:
            InputError: the code of a vector of that many parameters has another size.
        """

    def _check(self, array: np.ndarray, expected: int, num_params: int) -> None:
        if array.nbytes != expected:
            raise InputError(
                f"compression {self.name!r}: got {array.nbytes} bytes, expected {expected} for "
                f"{num_params} parameters; model_fn must build the same model everywhere"
            )


class Exact(Codec):
    """The vector itself: the array lies over its memory where that is on the CPU."""

    name = "none"

    def encoded_bytes(self, num_params: int, dtype: torch.dtype = torch.float32) -> int:
        return num_params * dtype.itemsize

    def encode(self, vector: Tensor) -> np.ndarray:
        vector = vector.detach().cpu()
        if vector.dtype == torch.bfloat16:  # which NumPy lacks
            vector = vector.view(torch.int16)
        array: np.ndarray = vector.numpy()
        return array

    def decode(self, array: np.ndarray, num_params: int, out: Tensor | None = None) -> Tensor:
        self._check(array, num_params * array.itemsize, num_params)
        if out is not None:
            place = self.encode(out)
            if place.dtype == array.dtype:
                np.copyto(place, array)
                return out
        values = torch.from_numpy(array.copy())
        if array.dtype == np.int16:
            values = values.view(torch.bfloat16)
        return values if out is None else out.copy_(values)


class ChunkedCodec(Codec):
    """A codec that loses something, and that works chunk by chunk."""

    array_dtype: ClassVar[type[np.generic]]

    @abstractmethod
    def length(self, num_params: int) -> int:
        """The elements of the array that a vector becomes."""

    @abstractmethod
    def encode_chunk(self, values: Tensor, array: np.ndarray) -> None:
        """Code at most `CHUNK` values on the CPU, of any float dtype, into `array`."""

    @abstractmethod
    def decode_chunk(self, array: np.ndarray, out: Tensor) -> None:
        """The other way; `out` is float32 and contiguous."""

    def encoded_bytes(self, num_params: int, dtype: torch.dtype = torch.float32) -> int:
        return self.length(num_params) * np.dtype(self.array_dtype).itemsize

    def empty(self, num_params: int) -> np.ndarray:
        """An array for the code of a vector."""
        return np.empty(self.length(num_params), self.array_dtype)

    def chunks(self, array: np.ndarray, num_params: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Each chunk's place in the vector, and its part of the array."""
        self._check(array, self.encoded_bytes(num_params), num_params)
        array = array.view(self.array_dtype)
        step = self.length(CHUNK)
        for i in range(-(-num_params // CHUNK)):
            place = slice(i * CHUNK, min((i + 1) * CHUNK, num_params))
            yield place, array[i * step : (i + 1) * step]

    def encode(self, vector: Tensor) -> np.ndarray:
        vector = vector.detach().cpu()
        array = self.empty(vector.numel())
        for place, part in self.chunks(array, vector.numel()):
            self.encode_chunk(vector[place], part)
        return array

    def decode(self, array: np.ndarray, num_params: int, out: Tensor | None = None) -> Tensor:
        if out is None:
            out = torch.empty(num_params)
        direct = out.dtype == torch.float32 and out.is_contiguous()
        buffer = None if direct else torch.empty(min(CHUNK, num_params))
        for place, part in self.chunks(array, num_params):
            if buffer is None:
                self.decode_chunk(part, out[place])
            else:
                values = buffer[: place.stop - place.start]
                self.decode_chunk(part, values)
                out[place] = values
        return out


class Bfloat16(ChunkedCodec):
    """The upper half of a float32, rounded to nearest, ties to even; above 3.39e38 infinite."""

    name = "bf16"
    array_dtype = np.int16

    def __init__(self) -> None:
        self._staging = torch.empty(CHUNK, dtype=torch.bfloat16)
        self._bits = self._staging.view(torch.int16).numpy()

    def length(self, num_params: int) -> int:
        return num_params

    def encode_chunk(self, values: Tensor, array: np.ndarray) -> None:
        if values.dtype == torch.float64:
            values = values.float()  # as the other codecs: float32 first, on every machine
        torch.from_numpy(array).view(torch.bfloat16).copy_(values)

    def decode_chunk(self, array: np.ndarray, out: Tensor) -> None:
        # NumPy takes the bits first: torch does not like memory that may only be read.
        self._bits[: len(array)] = array
        out.copy_(self._staging[: len(array)])
