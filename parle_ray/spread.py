"""A module whose layers are on several devices, trained by one contiguous vector all the same."""

import torch
from torch import Tensor, nn

from parle_ray.flat import FlatModule


class SpreadModule(FlatModule):
    """A module that `model_fn` has put on several devices: model parallelism inside a replica.

    The vector is on one of them, and the module's parameters are no views of it but copies: they
    are loaded before a mini-batch, and their gradients collected after it. Algorithms and the
    user's optimiser see `parameters`, which stand in for the module's, and are views.
    Source: Yadan et al., arXiv 1312.5853, the model-parallel scheme, inside a replica.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        values = [self.here(p.detach()).to(device, copy=True) for _, p in named]
        super().__init__(nn.ParameterList(values))
        self.module, self.names = module, [name for name, _ in named]
        self._copies = [p for _, p in named]

    @staticmethod
    def here(tensor: Tensor) -> Tensor:
        """What this process has of a parameter's value or gradient: a view."""
        return tensor

    def load(self) -> None:
        for p, value in self._pairs(self.vector):
            self.here(p.detach()).copy_(value)

    def collect(self) -> None:
        for p, gradient in self._pairs(self.gradient):
            if p.grad is not None:
                gradient.add_(self.here(p.grad).to(gradient.device))
                p.grad = None

    def _pairs(self, vector: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        return list(zip(self._copies, self.split(vector), strict=True))


def is_spread(module: nn.Module) -> bool:
    """Whether its trainable parameters are on more than one device that holds values."""
    devices = {p.device for p in module.parameters() if p.requires_grad}
    return len(devices) > 1 and not any(device.type == "meta" for device in devices)
