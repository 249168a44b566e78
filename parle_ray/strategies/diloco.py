"""DiLoCo: local steps, and an outer optimiser on how far they went."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from parle_ray.equations import blocks, nesterov_
from parle_ray.fold import Pushed
from parle_ray.schedules import Schedule, at
from parle_ray.strategies.base import State
from parle_ray.strategies.local_sgd import LocalSGD


@dataclass(frozen=True, kw_only=True)
class DiLoCo(LocalSGD):
    """DiLoCo (Douillard et al., arXiv 2311.08105, algorithm 1): local SGD with an outer Nesterov.

        d = x - (1/n) sum_a y^a                    the outer gradient
        m <- mu m + d;   x <- x - eta (d + mu m);   y^a <- x

    Attributes:
        outer_lr: eta.
        outer_momentum: mu; 0 and `outer_lr=1` give local SGD.
    """

    sync_every: int | Schedule = 500
    outer_lr: float | Schedule = 0.7
    outer_momentum: float = 0.9

    scheduled: ClassVar[tuple[str, ...]] = ("outer_lr",)
    equation: ClassVar[str] = "x <- x - eta Nesterov(x - mean y^a);  y^a <- x"
    source: ClassVar[str] = "Douillard et al., arXiv 2311.08105"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("outer_momentum")

    @property
    def master_is_mean(self) -> bool:
        return False

    def init_master(self, master: Tensor) -> State:
        return {"momentum": torch.zeros_like(master)}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        eta, mu = at(self.outer_lr, round), self.outer_momentum
        for x, v, m in blocks(master, pushed.mean, state["momentum"]):
            nesterov_(x, x - v, m, eta, mu)
