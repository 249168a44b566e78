"""torchvision's classification networks by name; torchvision (12 s) is imported on first use."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from parle_ray.errors import InputError, nearest
from parle_ray.models.arguments import call_model
from parle_ray.models.checks import ImageShape


def build_torchvision(
    name: str,
    num_classes: int,
    image_shape: ImageShape,
    args: Mapping[str, Any],
    our_names: tuple[str, ...],
) -> nn.Module:
    """A network of torchvision's registry without weights.

    Raises:
        InputError: no such network or argument, or it cannot take such images. `our_names` are
            offered too when the name is unknown.
    """
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise InputError(
            f"model must be one of {', '.join(our_names)}, a classification network of torchvision "
            f"such as resnet18, or package.module:callable; got {name!r}."
            f"{nearest(name, [*our_names, *names])}"
        )
    if image_shape[0] != 3:
        raise InputError(
            f"model {name} takes images of 3 channels, the data has {image_shape[0]}: "
            f"use one of {', '.join(our_names)}."
        )
    merged: dict[str, Any] = {"weights": None, "num_classes": num_classes, **args}
    if name in ("googlenet", "inception_v3"):  # else they return three outputs while training
        merged = {"aux_logits": False, "init_weights": True} | merged
    model = call_model(name, models.get_model_builder(name), merged)
    _try_one_image(name, model, image_shape)
    return model


def _try_one_image(name: str, model: nn.Module, image_shape: ImageShape) -> None:
    """torchvision's networks say nothing of the sizes they take, so one blank image is tried."""
    example = next(model.parameters())
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, *image_shape, dtype=example.dtype, device=example.device))
    except (RuntimeError, AssertionError, ValueError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise InputError(
            f"model {name} cannot take images of shape {image_shape}: {first_line}"
        ) from error
    model.train()
