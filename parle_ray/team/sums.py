"""The sum of what several processes have, in the order of the processes: on any network one sum."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Swapping(Protocol):
    """Processes that have an index each, and know how to exchange tensors."""

    index: int
    size: int

    def swap(self, gives: Sequence[Tensor], takes: Sequence[Tensor]) -> None:
        """Give process j `gives[j]` and fill `takes[j]` by what it gives; not with oneself."""


class Sums:
    """Each process adds up a stretch of what all have; an all-reduce would send as much.

    Args:
        group: all of whom call the same methods.
    """

    def __init__(self, group: Swapping) -> None:
        self._group = group
        self._pieces = torch.empty(0)

    def sum(self, vector: Tensor) -> None:
        """All of it, in all processes, in place."""
        stretches = vector.tensor_split(self._group.size)
        self.add(stretches)
        self.share(stretches)

    def add(self, stretches: Sequence[Tensor]) -> None:
        """This process's stretch becomes the sum; there is one for each process."""
        index, size = self._group.index, self._group.size
        own = stretches[index]
        if self._pieces.shape != (size, len(own)):
            self._pieces = own.new_empty(size, len(own))
        self._pieces[index] = own
        self._group.swap(stretches, self._pieces.unbind())
        own.zero_()
        for piece in self._pieces:
            own += piece

    def share(self, stretches: Sequence[Tensor]) -> None:
        """Give this process's stretch to all, and take theirs."""
        own = stretches[self._group.index]
        self._group.swap([own] * self._group.size, stretches)
