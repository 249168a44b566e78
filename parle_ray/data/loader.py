"""Batches of an image set for one replica: shuffled, resumable to the bit, on its device."""

from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from parle_ray.data.augment import draw, flip_and_crop, padding
from parle_ray.data.image_set import ImageSet
from parle_ray.data.passes import Batch, Passes
from parle_ray.data.store import DeviceStore, HostStore, Store, normalise, statistics
from parle_ray.errors import InputError

_AUGMENT = 2  # the stream of random numbers, for one (seed, rank, epoch); 1 shuffles


class ImageLoader(Passes):
    """Passes over a replica's window of an image set; iterating again is the next pass.

    The augmentation of a batch is a function of (seed, rank, epoch, batch), on any device; all
    else is that of `Passes`.

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
        self._rows = images.window(rank, num_replicas, fraction)
        whole = f"fraction {fraction} of {images.name}'s {len(images)} images among {num_replicas}"
        super().__init__(
            len(self._rows),
            f"{whole} replicas",
            batch_size,
            rank=rank,
            seed=seed,
            shuffle=shuffle,
        )
        self._pad = padding(min(images.image_shape[1:]))
        if augment and min(images.image_shape[1:]) <= self._pad:
            raise InputError(
                f"augment needs images larger than {self._pad} x {self._pad}, {images.name} has "
                f"{images.image_shape}: set augment to false."
            )
        self._images = images
        self._store: Store = HostStore(images, self._rows)
        self._mean, self._std = statistics(images, torch.device("cpu"))
        self._augment = augment

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

    def _make(self, places: NDArray[np.int64], epoch: int, batch: int) -> Batch:
        pixels, labels = self._store.take(places)
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
