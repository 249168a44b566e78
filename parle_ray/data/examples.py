"""What a run needs of a set, whichever kind it is of: images, or texts."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from parle_ray.data import python_library
from parle_ray.data.image_set import ImageSet
from parle_ray.data.loader import ImageLoader, batches
from parle_ray.data.passes import Batch
from parle_ray.data.python_library import load_python_library
from parle_ray.data.sets import NAMES, load
from parle_ray.data.text_loader import TextLoader, text_batches
from parle_ray.data.text_set import TextSet
from parle_ray.errors import InputError

ALL_NAMES = (*NAMES, python_library.NAME)

Examples = ImageSet | TextSet


def load_examples(
    name: str, root: str | Path | None = None, context: int | None = None
) -> tuple[Examples, Examples]:
    """(train, test) of the set `name`, one of `ALL_NAMES`; see `load` and `load_python_library`.

    Raises:
        InputError: no such set, its files are broken or missing, or the context does not fit it.
    """
    if name == python_library.NAME:
        return load_python_library(context)
    if context is not None:
        raise InputError(
            f"data.context: it is for texts, {name} has images, got {context}; leave it out"
        )
    return load(name, root)


def make_loader(
    examples: Examples,
    batch_size: int,
    *,
    rank: int,
    num_replicas: int,
    seed: int,
    fraction: float,
    augment: bool,
) -> ImageLoader | TextLoader:
    """The loader of one replica.

    Raises:
        InputError: an argument is out of range, the window is empty, or a text is to be flipped.
    """
    make: Callable[..., ImageLoader | TextLoader]
    if isinstance(examples, ImageSet):
        make = partial(ImageLoader, examples, augment=augment)
    elif augment:
        raise InputError("data.augment: it flips and crops images, not texts; set it to false")
    else:
        make = partial(TextLoader, examples)
    return make(batch_size, rank=rank, num_replicas=num_replicas, seed=seed, fraction=fraction)


def in_order(examples: Examples, batch_size: int) -> Iterator[Batch]:
    """The whole set once in its order; the last batch may be short."""
    if isinstance(examples, ImageSet):
        return batches(examples, batch_size)
    return text_batches(examples, batch_size)
