"""A labelled set of images held as NumPy arrays, and the two ways a run cuts it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from parle_ray.data.windows import WINDOW_SEED, check_held_out, window
from parle_ray.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Images with labels, never written to.

    NumPy on purpose: Ray puts the arrays into a node's object store once and every replica there
    maps the same read-only copy. Index first (`images[rows]` is a fresh array) before making a
    tensor; a tensor made straight from a read-only array could write into the store.

    Attributes:
        name: As in `parle_ray.data.load`.
        images: uint8, shape (N, C, H, W).
        labels: int64, shape (N,), values 0..num_classes-1.
        num_classes: Number of classes.
        mean: Of each channel, length C, in the units of `images` (0..255; digits: 0..16).
        std: Likewise.
        mirror: A mirrored image is as good as the image: not so for digits.

    Raises:
        InputError: a field has the wrong dtype or shape, or a label is out of range.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: bool = True

    at_once: ClassVar[int] = 512
    """Images that one forward pass of an evaluation takes."""
    most_held_out: ClassVar[int] = 10_000
    """Images on which a choice between candidates needs to be scored, at most."""

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(
                f"{self.name}: images must be uint8 of shape (N, C, H, W), "
                f"got {images.dtype} of shape {images.shape}."
            )
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise InputError(
                f"{self.name}: labels must be int64 of shape ({len(images)},), "
                f"got {labels.dtype} of shape {labels.shape}."
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise InputError(
                f"{self.name}: labels must be 0..{self.num_classes - 1}, "
                f"got {labels.min()}..{labels.max()}."
            )
        if not len(self.mean) == len(self.std) == images.shape[1] or min(self.std) <= 0:
            raise InputError(
                f"{self.name}: mean and std must have one value a channel ({images.shape[1]}), "
                f"std > 0; got {self.mean} and {self.std}."
            )
        for field, array in (("images", images), ("labels", labels)):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, field, view)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"ImageSet({self.name}, {len(self)} of {self.image_shape}, {self.num_classes})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def origin(self) -> str:
        """Where it is from, if that is not a file that the user has; empty if it is."""
        return "bundled" if self.name == "digits" else ""

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What a network has to know of the data."""
        return {"num_classes": self.num_classes, "image_shape": self.image_shape}

    def metrics(self, accuracy: float, loss: float) -> dict[str, float]:
        """An evaluation under the names of metrics, from means over the set."""
        return {"accuracy": accuracy, "test_loss": loss}

    def take(self, rows: NDArray[np.int64]) -> "ImageSet":
        """The images of these rows, in this order, as a set of its own (a copy)."""
        return dataclasses.replace(self, images=self.images[rows], labels=self.labels[rows])

    def validation_split(self, num_held_out: int, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """(train, held out): `num_held_out` images drawn at random, a function of `seed` only.

        Raises:
            InputError: nothing would be left on one side.
        """
        check_held_out(self.name, num_held_out, len(self), "images")
        if seed < 0:
            raise InputError(f"seed must be >= 0, got {seed}.")
        order = np.random.default_rng([WINDOW_SEED, seed]).permutation(len(self))
        return self.take(np.sort(order[num_held_out:])), self.take(np.sort(order[:num_held_out]))

    def window(self, rank: int, num_replicas: int, fraction: float) -> NDArray[np.int64]:
        """Rows that replica `rank` sees: the cyclic window [rank/n, rank/n + fraction).

        See `parle_ray.data.windows`.

        Raises:
            InputError: rank, num_replicas or fraction is out of range.
        """
        return window(len(self), rank, num_replicas, fraction)

    def fraction(self, rank: int, num_replicas: int, fraction: float) -> "ImageSet":
        """The `window` of replica `rank` as a set of its own; itself when fraction is 1."""
        rows = self.window(rank, num_replicas, fraction)
        return self if fraction == 1 else self.take(rows)
