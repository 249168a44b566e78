"""SGD: synchronous data-parallel training, the baseline of every paper here."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.fold import Pushed
from parle_ray.strategies.base import State, Strategy


@dataclass(frozen=True, kw_only=True)
class SGD(Strategy):
    """Synchronous data-parallel training with the user's optimiser at the coordinator.

        g = (1/n) sum_a g^a;   master <- optimiser(master, g);   every replica <- master

    The optimiser, its momentum and its schedule live where the master does, so a replica that
    comes back needs nothing but the master. With `sync_every` L > 1 a replica adds up the
    gradients of L mini-batches before it pushes their mean (gradient accumulation); with one that
    doubles, so does the batch.
    Source: Yadan et al., arXiv 1312.5853, the data-parallel scheme.
    """

    equation: ClassVar[str] = "x <- optimiser(x, mean g^a)"
    source: ClassVar[str] = "Yadan et al., arXiv 1312.5853"
    travels: ClassVar[tuple[str, str]] = ("g^a", "x")
    steps_master: ClassVar[bool] = True
    fixed_walk: ClassVar[bool] = True

    @property
    def pushes_near_master(self) -> bool:
        return False

    def init_replica(self, master: Tensor) -> State:
        return {"gradient": torch.zeros_like(master)}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        assert y.grad is not None
        state["gradient"].add_(y.grad, alpha=1.0 / self.steps(round))

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return state["gradient"]

    def init_master(self, master: Tensor) -> State:
        return {}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        assert master.grad is not None
        master.grad.copy_(pushed.mean)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        y.copy_(master)
        state["gradient"].zero_()

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        return 0.0  # every replica stands where the master does
