"""Image sets, where they are found, and the loader that feeds a replica from them."""

from parle_ray.data.image_set import ImageSet
from parle_ray.data.loader import ImageLoader, batches
from parle_ray.data.sets import NAMES, DataNotFound, load

__all__ = ["NAMES", "DataNotFound", "ImageLoader", "ImageSet", "batches", "load"]
