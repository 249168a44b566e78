"""What is trained in benchmarks: networks with their batches, and bare vectors of any size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from parle_ray.models.lenet import LeNet
from parle_ray.models.mlp import MLP

NUM_BATCHES = 8


class Problem(Protocol):
    """A model, its loss and its batches; can be sent to other processes."""

    def model(self) -> nn.Module:
        """A new model, its parameters drawn from torch's generator."""

    def batches(self, rank: int) -> list[Any]:
        """The batches that a replica goes through again and again."""

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        """A scalar."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """A network on random images.

    A linear map gives their classes, so that there is something to learn and nothing diverges.

    Attributes:
        network: `() -> nn.Module`, for images of `shape` in ten classes.
        shape: (C, H, W).
        batch_size: of each replica.
    """

    network: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    batch_size: int

    def model(self) -> nn.Module:
        return self.network()

    def batches(self, rank: int) -> list[Any]:
        drawn = torch.Generator().manual_seed(1 + rank)
        truth = torch.randn(self.shape[0] * self.shape[1] * self.shape[2], 10, generator=drawn)
        images = [
            torch.rand(self.batch_size, *self.shape, generator=drawn) - 0.5
            for _ in range(NUM_BATCHES)
        ]
        return [(batch, (batch.flatten(1) @ truth).argmax(1)) for batch in images]

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])


class Parameters(nn.Module):
    """`num_params` numbers, of which the loss sees the first thousand."""

    def __init__(self, num_params: int) -> None:
        super().__init__()
        head = min(1000, num_params // 2)
        self.head = nn.Parameter(torch.ones(head))
        self.body = nn.Parameter(torch.ones(num_params - head))


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A vector of any size whose loss costs nothing; what remains is the update and the exchange.

    Attributes:
        num_params: its length.
    """

    num_params: int

    def model(self) -> nn.Module:
        return Parameters(self.num_params)

    def batches(self, rank: int) -> list[Any]:
        return [torch.zeros(1)]

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        assert isinstance(module, Parameters)
        loss: Tensor = (module.head - batch).square().mean()
        return loss


def perceptron(shape: tuple[int, int, int], hidden: int) -> Callable[[], nn.Module]:
    """An MLP with one hidden layer."""
    return partial(MLP, 10, shape, hidden=hidden)


MNIST = (1, 28, 28)

LENET = Images(network=partial(LeNet, 10, MNIST), shape=MNIST, batch_size=128)
"""132,220 parameters."""

PERCEPTRON = Images(network=perceptron(MNIST, 843), shape=MNIST, batch_size=64)
"""670,195 parameters."""

CIFAR = (3, 32, 32)

WIDE = Images(network=perceptron(CIFAR, 11_840), shape=CIFAR, batch_size=16)
"""36.5 M parameters; a step computes some tenths of a second on one core."""


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """The optimiser of all contestants.

    Without weight decay the momentum of units that no example reaches any more falls below 1e-38,
    where a processor needs a hundred times as long, in some contestants earlier than in others.
    """
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
