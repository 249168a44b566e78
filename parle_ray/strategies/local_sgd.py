"""Local SGD: walk alone, then meet at the mean."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer

from parle_ray.schedules import Schedule
from parle_ray.strategies.base import MeanStrategy, State


@dataclass(frozen=True, kw_only=True)
class LocalSGD(MeanStrategy):
    """Local SGD, or federated averaging: L local steps, then everybody moves to the mean.

        x <- (1/n) sum_a y^a;   y^a <- x

    The inner optimiser's momentum stays with the replica.
    Source: Stich, arXiv 1805.09767, algorithm 1.
    """

    sync_every: int | Schedule = 25

    equation: ClassVar[str] = "x <- mean y^a;  y^a <- x"
    source: ClassVar[str] = "Stich, arXiv 1805.09767"

    def init_replica(self, master: Tensor) -> State:
        return {}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        inner.step()

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return y

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        y.copy_(master)
