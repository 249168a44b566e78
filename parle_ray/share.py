"""Which values of a vector one of several processes has."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Values = TypeVar("Values", Tensor, np.ndarray)


class Share:
    """Some stretches of a vector, which its owner has end to end, in a vector of its own.

    The shares of all processes have each value once.

    >>> share = Share([slice(0, 2), slice(3, 4)])
    >>> share.of(torch.arange(5)), len(share)
    (tensor([0, 1, 3]), 3)
    """

    def __init__(self, stretches: Iterable[slice]) -> None:
        self._stretches = list(stretches)

    def __len__(self) -> int:
        return sum(part.stop - part.start for part in self._stretches)

    @property
    def is_one(self) -> bool:
        """Whether it is one stretch, so that the owner's vector is a view of the whole."""
        return len(self._stretches) == 1

    def of(self, whole: Tensor) -> Tensor:
        """The owner's vector, `(len(self),)`: a view, or a copy if there are more stretches."""
        pieces = [whole[part] for part in self._stretches]
        return pieces[0] if self.is_one else torch.cat(pieces)

    def put(self, own: Values, whole: Values) -> None:
        """Write the owner's vector to where it belongs."""
        start = 0
        for part in self._stretches:
            stop = start + part.stop - part.start
            whole[part] = own[start:stop]
            start = stop


WHOLE = Share([slice(None)])
"""All of the vector, however long."""


def put_together(pieces: Sequence[np.ndarray], shares: Sequence[Share]) -> np.ndarray:
    """The whole vector, of which each owner has a piece."""
    whole = np.empty(sum(map(len, shares)), pieces[0].dtype)
    for piece, share in zip(pieces, shares, strict=True):
        share.put(piece, whole)
    return whole
