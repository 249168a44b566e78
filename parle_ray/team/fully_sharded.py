"""A replica whose parameters are cut among its processes too: torch's `fully_shard` (FSDP2).

Each process has some rows of every parameter and of its gradient, and what strategy and optimiser
keep for them. torch puts the parameters of one unit of the module together just before they are
needed, lets go of them after, and gives each process its rows of the gradient, summed.
Sources: Rajbhandari et al. (ZeRO), arXiv 1910.02054, stage 3; Zhao et al., arXiv 2304.11277.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from parle_ray.errors import InputError
from parle_ray.execution import num_samples
from parle_ray.flat import FlatModule
from parle_ray.generators import reseeded
from parle_ray.partial import Partial
from parle_ray.share import Share
from parle_ray.spread import SpreadModule
from parle_ray.team.base import Backward, cut, draw_seed, no_loss
from parle_ray.team.group import TorchGroup
from parle_ray.team.sharded import Sharing, Stateful

FIELD = "execution.shard_parameters"
WHOLE_ONLY = ("Adafactor", "LBFGS", "Muon", "SparseAdam")
"""Optimisers of torch whose step on some rows is not that of the whole parameter."""


class FullySharded(Sharing):
    """One of several processes that take a part of every mini-batch, and have a shard each."""

    on_host = True

    def __init__(self, group: TorchGroup) -> None:
        super().__init__(group)
        self._sum_shards = SumShards(group, self._sums.add)
        self._gather_shards, self._torchs = GatherShards(group), group.torchs

    def divide(self, flat: FlatModule, device: torch.device) -> FlatModule:
        """Cut the module, which is in host memory, and move this process's shard to its device.

        Raises:
            InputError: the module cannot be cut so.
        """
        _check(flat)
        index, size = self._group.index, self._group.size
        self._rows = [rows(p, index, size) for p in flat.parameters]
        self.shares = [share_of(flat.parameters, i, size) for i in range(size)]
        if not all(map(len, self.shares)):
            longest = max(len(p) for p in flat.parameters)
            raise InputError(
                f"execution.num_processes: {size} processes cannot have a shard each of "
                f"{type(flat.module).__name__}, none of whose parameters has more than {longest} "
                "rows; use fewer"
            )
        self._shard(flat.module, device)
        return Shard(flat.module, device, self.share)

    def part_of(self, flat: FlatModule, inner: Optimizer) -> tuple[FlatModule, Stateful]:
        if type(inner).__name__ in WHOLE_ONLY:
            raise InputError(
                f"{FIELD}: {type(inner).__name__} looks at whole parameters, of which a process "
                "has some rows; take an optimiser that treats each value by itself, such as SGD "
                "or AdamW, or execution.shard_state"
            )
        within = {id(p): part for p, part in zip(flat.parameters, self._rows, strict=True)}
        return flat, Partial(inner, lambda p: id(p) in within, lambda p: within[id(p)])

    def gradient(self, gradient: Tensor, batch: Any, backward: Backward) -> Tensor:
        index, size = self._group.index, self._group.size
        part, share = cut(batch, index, size)
        if not share:  # the others need this process's parameters: one example, which counts 0
            part, _ = cut(batch, 0, num_samples(batch))
        self._sum_shards.weight = share
        with reseeded(draw_seed(), index, cuda=gradient.device.type == "cuda"):
            loss = backward(part)
        return no_loss(gradient) + share * loss if share else no_loss(gradient)

    def _shard(self, module: nn.Module, device: torch.device) -> None:
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        mesh = DeviceMesh.from_group(self._torchs, device.type)
        for unit in [*units(module), module]:
            fully_shard(unit, mesh=mesh)
        for unit in module.modules():
            if isinstance(unit, FSDPModule):
                unit.set_custom_all_gather(self._gather_shards)  # type: ignore[arg-type]
                unit.set_custom_reduce_scatter(self._sum_shards)  # type: ignore[arg-type]
                unit.set_force_sum_reduction_for_comms(True)
                unit.set_gradient_divide_factor(1.0)  # the parts are weighted: see `SumShards`


class Shard(SpreadModule):
    """A module of which this process has some rows of every parameter: copies of the vector."""

    def __init__(self, module: nn.Module, device: torch.device, share: Share) -> None:
        super().__init__(module, device)
        self.share = share
        assert len(self.vector) == len(share), "torch cuts as `rows` does"

    @staticmethod
    def here(tensor: Tensor) -> Tensor:
        return tensor.to_local()  # type: ignore[attr-defined, no-any-return]


class Traffic:
    """What FSDP asks of both."""

    def __init__(self, group: TorchGroup) -> None:
        self._group = group

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Memory for what is about to be exchanged."""
        return torch.empty(*size, dtype=dtype, device=device)


class GatherShards(Traffic):
    """How parameters are put together."""

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False
    ) -> None:
        self._group.gather(output_tensor, input_tensor)


class SumShards(Traffic):
    """How gradients are summed: as by `Together`, in the order of the parts, on any network.

    Attributes:
        weight: of this process's part of the mini-batch, B_j / B.
    """

    weight = 1.0

    def __init__(self, group: TorchGroup, add: Callable[[Any], None]) -> None:
        super().__init__(group)
        self._add = add

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, **options: Any
    ) -> None:
        if self.weight:
            input_tensor.mul_(self.weight)
        else:
            input_tensor.zero_()
        stretches = input_tensor.chunk(self._group.size)
        self._add(stretches)
        output_tensor.copy_(stretches[self._group.index])


def units(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of a module whose parameters are put together at once, apart from the rest.

    They are the elements of its `nn.Sequential`s and `nn.ModuleList`s, such as the blocks of a
    transformer, and what is inside of one belongs to it. An element that is such a list itself is
    gone into; one that shares a parameter with what is outside of it belongs to the rest.
    """
    everywhere = _uses(module)
    for unit in _elements(module):
        inside = _uses(unit)
        if inside and inside.items() <= everywhere.items():
            yield unit


def _elements(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        is_list = type(child) is nn.Sequential or type(child).forward is nn.Module.forward
        if isinstance(module, nn.Sequential | nn.ModuleList) and not is_list:
            yield child
        else:
            yield from _elements(child)


def _uses(module: nn.Module) -> Counter[int]:
    """How often each parameter is somewhere in a module."""
    return Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))


def rows(p: Tensor, index: int, size: int) -> slice:
    """Those of a parameter that one of so many processes has: as `torch.chunk` gives them."""
    step = -(-len(p) // size)
    return slice(min(index * step, len(p)), min((index + 1) * step, len(p)))


def share_of(parameters: Sequence[Tensor], index: int, size: int) -> Share:
    """The same of all parameters, in the whole vector."""
    stretches, start = [], 0
    for p in parameters:
        own, width = rows(p, index, size), p.numel() // max(1, len(p))
        stretches.append(slice(start + own.start * width, start + own.stop * width))
        start += p.numel()
    return Share(stretches)


def _check(flat: FlatModule) -> None:
    kind = type(flat.module).__name__
    if isinstance(flat, SpreadModule):
        raise InputError(
            f"{FIELD}: model_fn has put the layers of {kind} on several devices; leave it on one, "
            "and it is cut here"
        )
    for name, p in flat.module.named_parameters():
        if p.dim() == 0:
            raise InputError(
                f"{FIELD}: the parameter {name!r} of {kind} is a scalar, which has no rows to "
                "cut; make it of shape (1,)"
            )
