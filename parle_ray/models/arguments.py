"""Calling a network's constructor so that a wrong argument is the user's error, named."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from parle_ray.errors import InputError, nearest

_GIVEN = ("num_classes", "image_shape", "context")  # by us, not by the user


def parameters_of(name: str, model_fn: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """The signature's parameters; InputError for a compiled callable that has none."""
    try:
        return inspect.signature(model_fn).parameters
    except (ValueError, TypeError) as error:
        raise InputError(f"model {name} has no signature to read: wrap it in a def.") from error


def call_model(name: str, model_fn: Callable[..., object], args: Mapping[str, Any]) -> nn.Module:
    """`model_fn(**args)`.

    Raises:
        InputError: an argument that it does not take or that it lacks, or its result is no module.
    """
    parameters = parameters_of(name, model_fn)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for argument in args:
            if argument not in parameters:
                raise InputError(_unknown(name, argument, list(parameters)))
        for argument, parameter in parameters.items():
            needed = parameter.default is parameter.empty and parameter.kind is not (
                parameter.VAR_POSITIONAL
            )
            if needed and argument not in args:
                raise InputError(f"model {name} needs the argument {argument!r}: set it.")
    try:
        model = model_fn(**args)
    except TypeError as error:  # behind **kwargs the constructor itself finds out
        unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unexpected is None or unexpected[1] not in args:
            raise
        raise InputError(_unknown(name, unexpected[1], list(parameters))) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model {name} must make a torch.nn.Module, got {type(model).__name__}.")
    return model


def _unknown(name: str, argument: str, parameters: list[str]) -> str:
    takes = [p for p in parameters if p not in (*_GIVEN, "weights", "progress", "kwargs")]
    known = f" It takes: {', '.join(takes)}." if takes else ""
    return f"model {name} takes no argument {argument!r}.{nearest(argument, takes)}{known}"
