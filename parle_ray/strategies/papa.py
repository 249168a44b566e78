"""PAPA: a population whose members are drawn a little towards their mean."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import blocks
from parle_ray.schedules import Schedule
from parle_ray.strategies.base import MeanStrategy, State


@dataclass(frozen=True, kw_only=True)
class PAPA(MeanStrategy):
    """PopulAtion Parameter Averaging (Jolicoeur-Martineau et al., arXiv 2304.03094).

        x   <- (1/n) sum_a y^a
        y^a <- c y^a + (1 - c) x,     1 - c = (1 - alpha) lr/lr_0

    Replicas stay themselves, and the population is to profit from data orders and augmentations
    that differ; the pull weakens as the learning rate falls from where it began, lr_0. The mean is
    that of the y^a of the same time, so replicas wait for it.

    Attributes:
        alpha: the part of itself that a replica keeps at full learning rate; 0 gives local SGD
            if the rate is constant. The paper has 0.99 every 10 steps.
    """

    sync_every: int | Schedule = 10
    alpha: float = 0.99

    equation: ClassVar[str] = "x <- mean y^a;  y^a <- c y^a + (1 - c) x,  1 - c ~ lr"
    source: ClassVar[str] = "Jolicoeur-Martineau et al., arXiv 2304.03094"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("alpha")

    def init_replica(self, master: Tensor) -> State:
        # `rate` keeps lr/lr_0 of the round for `pull`, which does not see the optimiser.
        return {"rate": torch.zeros((), dtype=torch.float64)}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        inner.step()
        group = inner.param_groups[0]
        # A schedule leaves lr_0 in the group. One that warms up begins below its peak.
        rate = min(1.0, float(group["lr"] / group.get("initial_lr", group["lr"])))
        state["rate"] = torch.tensor(rate, dtype=torch.float64)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return y

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        share = (1.0 - self.alpha) * state["rate"].item()
        for y_, x in blocks(y, master):  # y <- y + (1 - c)(x - y), x float32 if it was a code
            y_.lerp_(x.to(y.dtype), share)
