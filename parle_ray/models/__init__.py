"""The networks, one a file, and what makes a network by its name."""

from parle_ray.models.registry import MODELS, TEXT_MODELS, build, build_for, build_text

__all__ = ["MODELS", "TEXT_MODELS", "build", "build_for", "build_text"]
