"""Sets of examples, where they are found, and the loaders that feed a replica from them."""

from parle_ray.data.examples import ALL_NAMES, Examples, in_order, load_examples, make_loader
from parle_ray.data.image_set import ImageSet
from parle_ray.data.loader import ImageLoader, batches
from parle_ray.data.sets import NAMES, DataNotFound, load
from parle_ray.data.text_loader import TextLoader
from parle_ray.data.text_set import TextSet

__all__ = [
    "ALL_NAMES",
    "NAMES",
    "DataNotFound",
    "Examples",
    "ImageLoader",
    "ImageSet",
    "TextLoader",
    "TextSet",
    "batches",
    "in_order",
    "load",
    "load_examples",
    "make_loader",
]
