"""Where a loader's bytes lie, in the host's shared arrays or on a device, and their scale."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parle_ray.data.image_set import ImageSet
from parle_ray.data.passes import Batch


class HostStore:
    """Rows of the shared read-only arrays; indexing them makes the batch's own copy."""

    def __init__(self, images: ImageSet, rows: NDArray[np.int64]) -> None:
        self._images, self._rows = images, rows

    def take(self, places: NDArray[np.int64]) -> Batch:
        """Bytes and labels at these places of the window."""
        rows = self._rows[places]
        images, labels = self._images.images[rows], self._images.labels[rows]
        return torch.from_numpy(images), torch.from_numpy(labels)


class DeviceStore:
    """A copy of the window's bytes on an accelerator."""

    def __init__(self, images: ImageSet, rows: NDArray[np.int64], device: torch.device) -> None:
        self._device = device
        self._pixels = torch.from_numpy(images.images[rows]).to(device)
        self._labels = torch.from_numpy(images.labels[rows]).to(device)

    def take(self, places: NDArray[np.int64]) -> Batch:
        """Bytes and labels at these places of the window."""
        index = torch.from_numpy(places).to(self._device)
        return self._pixels[index], self._labels[index]


Store = HostStore | DeviceStore


def statistics(images: ImageSet, device: torch.device) -> Batch:
    """Mean and standard deviation, each float32 of shape (C, 1, 1)."""
    mean = torch.tensor(images.mean, dtype=torch.float32, device=device)
    std = torch.tensor(images.std, dtype=torch.float32, device=device)
    return mean[:, None, None], std[:, None, None]


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """float32 pixels of mean 0 and deviation 1 a channel."""
    return pixels.float().sub_(mean).div_(std)
