"""Vectors and states in the form in which they cross the object store: NumPy, out of band.

A NumPy array is stored once and mapped, not copied, by every reader of a node; a torch tensor
would be pickled, at forty times the cost. bfloat16, which NumPy lacks, travels as int16.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parle_ray.execution import map_tensors
from parle_ray.fold import Numbers


@dataclass(frozen=True)
class Parcel:
    """A reply on its way to a replica.

    Attributes:
        refs: of its stretches, in order, in the object store.
        num_bytes: of all of them.
        restart: see `Reply`.
        coded: they are a code.
        part: see `Reply`.
        numbers: see `Reply`.
    """

    refs: list[Any]
    num_bytes: int
    restart: bool
    coded: bool
    part: slice | None = None
    numbers: Numbers = ()


def pack(vector: Tensor | np.ndarray) -> np.ndarray:
    """An array over the vector's own memory where that is on the CPU; a code as it is."""
    if isinstance(vector, np.ndarray):
        return vector
    vector = vector.detach().cpu()
    if vector.dtype == torch.bfloat16:
        vector = vector.view(torch.int16)
    return vector.numpy()


def form(array: np.ndarray | None) -> tuple[str, tuple[int, ...]] | None:
    """Type and shape."""
    return None if array is None else (array.dtype.str, array.shape)


def view(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """A tensor over an array that may lie in the object store: for reading only.

    `dtype` is that of the vector if it is packed as int16; any other array has its own.

    torch does not know that the memory is read-only: writing in place would change the object
    for everybody who reads it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    return tensor.view(dtype) if array.dtype == np.int16 else tensor


def view_all(arrays: Sequence[np.ndarray], dtype: torch.dtype) -> Tensor:
    """The vector whose stretches these are: a copy, or a view if there is but one."""
    parts = [view(array, dtype) for array in arrays]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def unpack(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """A private copy, which may be written to."""
    return view(array.copy(), dtype)


def pack_tree(state: Any, *, copy: bool = False) -> Any:
    """A state (see `state_dict`) with every tensor as an array and its dtype."""

    def packed(tensor: Tensor) -> Packed:
        array = pack(tensor)
        return Packed(array.copy() if copy else array, dtype_name(tensor.dtype))

    return map_tensors(packed, state)


def dtype_name(dtype: torch.dtype) -> str:
    """As `Packed` has it."""
    return str(dtype).removeprefix("torch.")


def num_bytes(state: Any) -> int:
    """Of the arrays in a packed state."""
    if isinstance(state, Packed):
        return state.array.nbytes
    if isinstance(state, dict):
        return sum(num_bytes(value) for value in state.values())
    if isinstance(state, list | tuple):
        return sum(num_bytes(value) for value in state)
    return 0


def unpack_tree(state: Any) -> Any:
    """A private copy of a packed state, with tensors again."""
    if isinstance(state, Packed):
        return unpack(state.array, getattr(torch, state.dtype))
    if isinstance(state, dict):
        return {key: unpack_tree(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(unpack_tree(value) for value in state)
    return state


class Packed:
    """An array that was a tensor of `dtype`."""

    def __init__(self, array: np.ndarray, dtype: str) -> None:
        self.array, self.dtype = array, dtype
