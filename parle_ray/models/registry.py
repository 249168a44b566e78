"""A network by its name, for images or for texts: ours, torchvision's, or the user's function."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from parle_ray.errors import InputError, nearest
from parle_ray.models.all_cnn import AllCNN
from parle_ray.models.arguments import call_model, parameters_of
from parle_ray.models.byte_lm import ByteLM
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
"""For images."""
TEXT_MODELS: dict[str, Callable[..., nn.Module]] = {"byte_lm": ByteLM}


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
    if name in TEXT_MODELS:
        raise InputError(f"model {name} reads texts, not images: use one of {', '.join(MODELS)}.")
    given: dict[str, Any] = {"num_classes": num_classes, "image_shape": image_shape}
    if name in MODELS:
        return call_model(name, MODELS[name], given | args)
    if ":" in name:
        return _build_imported(name, given, args)
    return build_torchvision(name, num_classes, image_shape, args, tuple(MODELS))


def build_text(name: str, num_classes: int, context: int, **args: Any) -> nn.Module:
    """The same for texts: bytes `(B, T)`, T <= context -> logits `(B, T, num_classes)`.

    Args:
        name: One of `TEXT_MODELS`; or an import path, which is given `num_classes` and `context`
            where its signature has them.
        num_classes: Outputs, and what an input may be.
        context: Inputs of an example.
        **args: The network's own arguments.

    Raises:
        InputError: no such network or argument.
    """
    given: dict[str, Any] = {"num_classes": num_classes, "context": context}
    if name in TEXT_MODELS:
        return call_model(name, TEXT_MODELS[name], given | args)
    if ":" in name:
        return _build_imported(name, given, args)
    raise InputError(
        f"model must be one of {', '.join(TEXT_MODELS)}, or package.module:callable, where the "
        f"data are texts; got {name!r}.{nearest(name, TEXT_MODELS)}"
    )


def build_for(given: Mapping[str, Any], name: str, args: Mapping[str, Any]) -> nn.Module:
    """The network for data that say of themselves what it is given: see `build`, `build_text`."""
    make: Callable[..., nn.Module] = build_text if "context" in given else build
    return make(name, **given, **args)


def _build_imported(name: str, given: Mapping[str, Any], args: Mapping[str, Any]) -> nn.Module:
    """Of what is given, it gets what it asks for."""
    model_fn = _import(name)
    known = parameters_of(name, model_fn)
    return call_model(name, model_fn, {k: given[k] for k in given if k in known} | dict(args))


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
