"""Batches of an image set for one replica: shuffled, resumable to the bit, on its device."""

from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from parle_ray.data.augment import draw, flip_and_crop, padding
from parle_ray.data.image_set import ImageSet
from parle_ray.data.store import Batch, DeviceStore, HostStore, Store, normalise, statistics
from parle_ray.errors import InputError, printable

_SHUFFLE, _AUGMENT = 1, 2  # two streams of random numbers for one (seed, rank, epoch)


class ImageLoader:
    """Passes over a replica's window of an image set; iterating again is the next pass.

    The order of a pass is a function of (seed, rank, epoch) and the augmentation of a batch of
    (seed, rank, epoch, batch), on any device; no global generator is read. Each batch has
    the same size: the images left over at the end of a pass are not shown in it. The loader has
    one position, (epoch, next batch): a pass that was broken off is continued by the next `for`.

    A batch is (x, y): x float32 (B, C, H, W), normalised by the set's mean and std; y int64 (B,).

    Args:
        images: The set; its arrays are read, never copied, unless `to` moves them to a device.
        batch_size: Images a batch; cut to the window when that is smaller.
        rank: Which replica this is, 0..num_replicas-1.
        num_replicas: How many replicas share the set.
        seed: Of the run, >= 0; each rank draws its own numbers from it.
        fraction: How much of the set this replica sees (`ImageSet.window`); 1 is all.
        augment: Random crop, and flip where the set allows it (`parle_ray.data.augment`).
        shuffle: False: every pass in the order of the window.

    Raises:
        InputError: an argument is out of range, or the window is empty.

    Example:
        >>> from parle_ray.data import ImageLoader, load
        >>> loader = ImageLoader(load("digits")[0], batch_size=128)
        >>> len(loader), next(iter(loader))[0].shape
        (11, torch.Size([128, 1, 8, 8]))
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        *,
        rank: int = 0,
        num_replicas: int = 1,
        seed: int = 0,
        fraction: float = 1.0,
        augment: bool = False,
        shuffle: bool = True,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be >= 1, got {batch_size}.")
        if seed < 0:
            raise InputError(f"seed must be >= 0, got {seed}.")
        self._pad = padding(min(images.image_shape[1:]))
        if augment and min(images.image_shape[1:]) <= self._pad:
            raise InputError(
                f"augment needs images larger than {self._pad} x {self._pad}, {images.name} has "
                f"{images.image_shape}: set augment to false."
            )
        self._rows = images.window(rank, num_replicas, fraction)
        if len(self._rows) == 0:
            raise InputError(
                f"replica {rank} has no data: fraction {fraction} of {images.name}'s {len(images)} "
                f"images among {num_replicas} replicas is none. Raise fraction."
            )
        self._images = images
        self._store: Store = HostStore(images, self._rows)
        self._mean, self._std = statistics(images, torch.device("cpu"))
        self._batch_size = min(batch_size, len(self._rows))
        self._key = (seed, rank)
        self._augment, self._shuffle = augment, shuffle
        self._epoch = self._batch = 0

    def __len__(self) -> int:
        """Batches a pass."""
        return len(self._rows) // self._batch_size

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        order = self._order(epoch)
        while self._epoch == epoch:
            batch = self._batch
            # Moved on before the yield: a state taken while this batch is in use names the next.
            self._epoch, self._batch = divmod(epoch * len(self) + batch + 1, len(self))
            yield self._make(order, epoch, batch)

    def to(self, device: torch.device | str) -> Self:
        """Moves the loader; on an accelerator the window's bytes move there once."""
        device = torch.device(device)
        on_host = device.type == "cpu"
        self._store = (
            HostStore(self._images, self._rows)
            if on_host
            else DeviceStore(self._images, self._rows, device)
        )
        self._mean, self._std = statistics(self._images, device)
        return self

    def state_dict(self) -> dict[str, int]:
        """{"epoch", "batch"}: the position of the batch that comes next."""
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
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
        """Places in the window in the order of a pass."""
        if not self._shuffle:
            return np.arange(len(self._rows))
        return np.random.default_rng([_SHUFFLE, *self._key, epoch]).permutation(len(self._rows))

    def _make(self, order: NDArray[np.int64], epoch: int, batch: int) -> Batch:
        begin = batch * self._batch_size
        pixels, labels = self._store.take(order[begin : begin + self._batch_size])
        if self._augment:
            rng = np.random.default_rng([_AUGMENT, *self._key, epoch, batch])
            choices = draw(rng, self._batch_size, self._pad, self._images.mirror)
            pixels = flip_and_crop(pixels, choices)
        return normalise(pixels, self._mean, self._std), labels


def batches(images: ImageSet, batch_size: int) -> Iterator[Batch]:
    """The whole set once in its order, for evaluation; the last batch may be short.

    Raises:
        InputError: batch_size < 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be >= 1, got {batch_size}.")
    store = HostStore(images, np.arange(len(images)))
    mean, std = statistics(images, torch.device("cpu"))
    for begin in range(0, len(images), batch_size):
        pixels, labels = store.take(np.arange(begin, min(begin + batch_size, len(images))))
        yield normalise(pixels, mean, std), labels
