"""A module cut between its layers: the stage that each process of a pipeline has of it."""

from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.flat import FlatModule
from parle_ray.share import Share
from parle_ray.spread import SpreadModule
from parle_ray.stretches import stretches

FIELD = "execution.num_microbatches"


class Stage(FlatModule):
    """The module without the layers of other processes. Its parameters are views, as ever.

    Those of the others are gone but for names and shapes, by which the user's optimiser groups
    them as it would the whole module's.

    Args:
        whole: the module, of which nothing but this stage is left.
        kept: the names of the layers that stay.
        device: on which they compute.
    """

    def __init__(
        self, whole: FlatModule, kept: list[str], share: Share, device: torch.device
    ) -> None:
        layers = layers_of(whole.module)
        for name in [name for name in layers._modules if name not in kept]:
            delattr(layers, name)
        own = {id(p) for p in layers.parameters()}
        for p in whole.parameters:
            if id(p) not in own:
                p.grad = None
                p.data = p.data.new_empty(()).expand(p.shape)
        super().__init__(whole.module.to(device))
        self._everywhere, self.share = whole.parameters, share

    @property
    def optimised(self) -> list[nn.Parameter]:
        return self._everywhere


def layers_of(module: nn.Module) -> nn.Sequential:
    """The layers of a module that does nothing but go through them in their order.

    Raises:
        InputError: it does something else.
    """
    for path, child in [("", module), *module.named_children()]:
        if isinstance(child, nn.Sequential) and _goes_through(module, path, child):
            return child
    raise InputError(
        f"{FIELD}: {type(module).__name__} is not cut into stages, as it is no nn.Sequential and "
        "its forward(x) does more than to return self.layers(x), where self.layers is one that "
        "has all of its parameters and buffers; write it so, or set execution.shard_parameters"
    )


def stages(flat: FlatModule, size: int) -> tuple[list[list[str]], list[Share]]:
    """The layers of each of so many processes, consecutive ones, and their shares of the vector.

    Processes get about as many parameters each. A layer without any goes with the one before.

    Raises:
        InputError: the module cannot be cut so.
    """
    if isinstance(flat, SpreadModule):
        raise InputError(
            f"{FIELD}: model_fn has put the layers of {type(flat.module).__name__} on several "
            "devices; leave them on one, and they are cut here"
        )
    layers = layers_of(flat.module)._modules
    sizes = [_size(layer) for layer in layers.values()]
    learning = [i for i, count in enumerate(sizes) if count]
    if len(learning) < size:
        raise InputError(
            f"execution.num_processes must be <= {len(learning)}, as so many layers of "
            f"{type(flat.module).__name__} have parameters to train, and each process has one or "
            f"more; got {size}"
        )
    parts = stretches([sizes[i] for i in learning], size, whole_parameters=True, codec="none")
    starts = dict(zip(accumulate((sizes[i] for i in learning), initial=0), learning, strict=False))
    firsts = [0, *(starts[part.start] for part in parts[1:]), len(sizes)]
    cut = [list(layers)[start:stop] for start, stop in pairwise(firsts)]
    return cut, _shares(flat, [[layers[name] for name in names] for names in cut])


def _shares(flat: FlatModule, cut: list[list[Any]]) -> list[Share]:
    owners = [{id(p) for layer in stage for p in layer.parameters()} for stage in cut]
    if len(set().union(*owners)) < sum(map(len, owners)):
        raise InputError(
            f"{FIELD}: layers of {type(flat.module).__name__} that share a parameter come to be in "
            "different processes; let each have its own, or use fewer processes"
        )
    sizes = [sum(p.numel() for p in flat.parameters if id(p) in own) for own in owners]
    return [Share([slice(*ends)]) for ends in pairwise(accumulate(sizes, initial=0))]


def _size(layer: nn.Module | None) -> int:
    assert layer is not None, "nn.Sequential has no empty places"
    return sum(p.numel() for p in layer.parameters() if p.requires_grad)


class _Probe(nn.Module):
    """Stands for layers, and sees what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []
        self.gives = object()

    def forward(self, *given: Any) -> Any:
        self.given += given
        return self.gives


def _goes_through(module: nn.Module, path: str, layers: nn.Sequential) -> bool:
    """Whether a module is nothing but these layers: it is tried with what can only be handed on."""
    if type(layers).forward is not nn.Sequential.forward:
        return False
    if layers is module:
        return True
    if _tensors(layers) != _tensors(module):
        return False
    probe, x = _Probe(), object()
    setattr(module, path, probe)
    try:
        y = module.forward(x)
    except Exception:  # it does something with x or y, which are nothing
        return False
    finally:
        setattr(module, path, layers)
    return y is probe.gives and len(probe.given) == 1 and probe.given[0] is x


def _tensors(module: nn.Module) -> set[int]:
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    return {id(tensor) for tensor in tensors}
