"""Passes over the examples of one replica: shuffled, and resumable to the bit."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from parle_ray.errors import InputError, printable

_SHUFFLE = 1  # the stream of random numbers; a loader's own streams have other numbers

Batch = tuple[Tensor, Tensor]
"""Inputs (B, ...) and labels int64, one or several for each input."""


class Passes(ABC):
    """A loader without its examples: the order of each pass, and the position in it.

    Iterating again is the next pass. Its order is a function of (seed, rank, epoch); no global
    generator is read. Each batch has the same size: what is left over at the end of a pass is not
    shown in it. There is one position, (epoch, next batch): a pass that was broken off is
    continued by the next `for`.

    Args:
        num: examples that this replica sees.
        whole: what they are a part of, for errors.
        batch_size: examples a batch; cut to `num` when that is smaller.
        rank: which replica this is.
        seed: of the run, >= 0; each rank draws its own numbers from it.
        shuffle: False: every pass in the order of the examples.

    Raises:
        InputError: an argument is out of range, or there is no example.
    """

    def __init__(
        self, num: int, whole: str, batch_size: int, *, rank: int, seed: int, shuffle: bool
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be >= 1, got {batch_size}.")
        if seed < 0:
            raise InputError(f"seed must be >= 0, got {seed}.")
        if num == 0:
            raise InputError(f"replica {rank} has no data: {whole} is none. Raise fraction.")
        self._num = num
        self._batch_size = min(batch_size, num)
        self._key = (seed, rank)
        self._shuffle = shuffle
        self._epoch = self._batch = 0

    def __len__(self) -> int:
        """Batches a pass."""
        return self._num // self._batch_size

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        order = self._order(epoch)
        while self._epoch == epoch:
            batch = self._batch
            # Moved on before the yield: a state taken while this batch is in use names the next.
            self._epoch, self._batch = divmod(epoch * len(self) + batch + 1, len(self))
            begin = batch * self._batch_size
            yield self._make(order[begin : begin + self._batch_size], epoch, batch)

    def state_dict(self) -> dict[str, Any]:
        """{"epoch", "batch"}: the position of the batch that comes next."""
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a position: the next batch is the one that would have come next there.

        Raises:
            InputError: a pass of this loader has no such batch.
        """
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int):
            raise InputError(f"loader state {printable(dict(state))} has no whole epoch and batch.")
        if epoch < 0 or not 0 <= batch <= len(self):
            raise InputError(
                f"loader state {printable(dict(state))} does not fit: a pass has {len(self)} "
                f"batches of {self._batch_size}. Resume with the batch_size, data and fraction of "
                "the run."
            )
        self._epoch, self._batch = divmod(epoch * len(self) + batch, len(self))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Places among the examples in the order of a pass."""
        if not self._shuffle:
            return np.arange(self._num)
        return np.random.default_rng([_SHUFFLE, *self._key, epoch]).permutation(self._num)

    @abstractmethod
    def _make(self, places: NDArray[np.int64], epoch: int, batch: int) -> Batch:
        """The examples at these places, as batch number `batch` of a pass."""
