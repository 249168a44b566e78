"""`build`: a network by its name - ours, torchvision's, or a function of the user's."""

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from parle_ray.errors import InputError, nearest
from parle_ray.models.all_cnn import AllCNN
from parle_ray.models.arguments import call_model, parameters_of
from parle_ray.models.checks import ImageShape
from parle_ray.models.lenet import LeNet
from parle_ray.models.mlp import MLP
from parle_ray.models.small_cnn import SmallCNN
from parle_ray.models.torchvision_models import build_torchvision
from parle_ray.models.wide_resnet import wrn_16_4, wrn_28_10

MODELS: dict[str, Callable[..., nn.Module]] = {
    "all_cnn": AllCNN,
    "lenet": LeNet,
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "wrn_16_4": wrn_16_4,
    "wrn_28_10": wrn_28_10,
}


def build(name: str, num_classes: int, image_shape: ImageShape, **args: Any) -> nn.Module:
    """A new network on torch's default device, initialised from its global generator.

    Args:
        name: One of `MODELS`; or a classification network of torchvision (`resnet18`), without
            weights; or an import path `package.module:callable`, which is given `num_classes` and
            `image_shape` where its signature has them.
        num_classes: Outputs.
        image_shape: (C, H, W) of the data.
        **args: The network's own arguments, such as dropout.

    Raises:
        InputError: no such network or argument, or the network cannot take such images.

    Example:
        >>> sum(p.numel() for p in build("lenet", 10, (1, 28, 28)).parameters())
        132220
    """
    if num_classes < 1 or min(image_shape) < 1:
        raise InputError(
            f"num_classes and the image shape must be >= 1, got {num_classes} and {image_shape}."
        )
    given: dict[str, Any] = {"num_classes": num_classes, "image_shape": image_shape}
    if name in MODELS:
        return call_model(name, MODELS[name], given | args)
    if ":" in name:
        model_fn = _import(name)
        known = parameters_of(name, model_fn)
        return call_model(name, model_fn, {k: given[k] for k in given if k in known} | args)
    return build_torchvision(name, num_classes, image_shape, args, tuple(MODELS))


def _import(path: str) -> Callable[..., object]:
    """The callable at `package.module:name`; an error inside the user's module is the user's."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, ValueError) as error:
        missing = getattr(error, "name", None)
        if missing and not f"{module_name}.".startswith(f"{missing}."):
            raise  # the module is there, something that it imports is not
        raise InputError(
            f"model {path!r}: there is no module {module_name!r} to import. Is its folder the "
            "current one, on PYTHONPATH, or installed?"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise InputError(
            f"model {path!r}: {module_name} has no callable {attribute!r}."
            f"{nearest(attribute, public)}"
        )
    model_fn: Callable[..., object] = found
    return model_fn
