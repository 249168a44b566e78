"""The paper's augmentation for a batch at once: random horizontal flip, then reflect-pad crop.

Both only choose which pixel goes where, so together they are one gather on the bytes, on the
device of the images. The choices are drawn on the host: the same on a CPU and on a GPU.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def padding(size: int) -> int:
    """How far a crop may shift: an eighth of the image, the paper's 4 pixels of CIFAR's 32."""
    return max(1, size // 8)


class Choices(NamedTuple):
    """What happens to each image of a batch; three int64 tensors of shape (B,).

    flip: 1 where the image is mirrored left to right. down, right: -pad..pad, by how many pixels
    the window of the crop lies below and right of the image.
    """

    flip: Tensor
    down: Tensor
    right: Tensor


def draw(rng: np.random.Generator, batch_size: int, pad: int, mirror: bool) -> Choices:
    """Independent fair choices for each image; no flips unless `mirror`."""
    flip = rng.integers(0, 2 if mirror else 1, batch_size)
    down, right = rng.integers(-pad, pad + 1, (2, batch_size))
    return Choices(torch.from_numpy(flip), torch.from_numpy(down), torch.from_numpy(right))


def flip_and_crop(images: Tensor, choices: Choices) -> Tensor:
    """The flipped and shifted images, same shape (B, C, H, W), dtype and device; edges reflect.

    out[b, c, i, j] = image[b, c, r(i + down_b), q(j + right_b)], where r and q reflect at the edges
    (without repeating them) and q runs backwards where the image is flipped. H and W must be > pad.
    """
    batch_size, channels, height, width = images.shape
    flip, down, right = torch.stack(choices).to(images.device)
    rows = _reflect(down[:, None] + torch.arange(height, device=images.device), height)
    columns = _reflect(right[:, None] + torch.arange(width, device=images.device), width)
    columns = torch.where(flip[:, None] == 1, width - 1 - columns, columns)
    places = (rows[:, :, None] * width + columns[:, None, :]).view(batch_size, 1, -1)
    pixels = images.reshape(batch_size, channels, -1)
    return pixels.gather(2, places.expand(-1, channels, -1)).view(images.shape)


def _reflect(index: Tensor, size: int) -> Tensor:
    """-1 -> 1, size -> size - 2: the index of a mirror standing on the first and last pixel."""
    return size - 1 - (size - 1 - index.abs()).abs()
