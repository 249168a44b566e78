"""The paper's networks, one a file, and `build`, which makes a network by its name."""

from parle_ray.models.registry import MODELS, build

__all__ = ["MODELS", "build"]
