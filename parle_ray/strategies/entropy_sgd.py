"""Entropy-SGD: one sheriff x whose deputies y explore its neighbourhood."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import average_, blocks, nesterov_
from parle_ray.errors import InputError
from parle_ray.fold import Pushed
from parle_ray.schedules import Geometric, Schedule, at
from parle_ray.strategies.base import State, Strategy
from parle_ray.strategies.chain import step_near_


@dataclass(frozen=True, kw_only=True)
class EntropySGD(Strategy):
    """Entropy-SGD (Chaudhari et al., arXiv 1611.01838; Parle's paper, section 2.2).

    Minimises the local entropy f_gamma(x), whose gradient is `(x - <y>)/gamma`:

        y <- y - lr [ grad f(y) + (1/gamma)(y - x) ] + noise
        z <- alpha z + (1 - alpha) y
        x <- x - eta (x - z)                                      once every L steps; y, z <- x

    With n replicas, n chains estimate `<y>` together: z is the mean of their z^a.

    Attributes:
        gamma, alpha, outer_lr, outer_momentum: as in `Parle`.
        noise: standard deviation of the Langevin noise is `noise sqrt(2 lr)` a step; 0 is none,
            the original code has 1e-4.
    """

    sync_every: int | Schedule = 25
    gamma: float | Schedule = Geometric(100.0, 1.0)
    alpha: float = 0.75
    outer_lr: float | Schedule = 0.7
    outer_momentum: float = 0.7
    noise: float = 0.0

    scheduled: ClassVar[tuple[str, ...]] = ("gamma", "outer_lr")
    equation: ClassVar[str] = "x <- x - eta (x - mean z^a),  z^a the mean of a chain held near x"
    source: ClassVar[str] = "Chaudhari et al., arXiv 1611.01838"
    travels: ClassVar[tuple[str, str]] = ("z^a", "x")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("alpha")
        self._check_fraction("outer_momentum")
        if not 0.0 <= self.noise < math.inf:
            raise InputError(f"noise must be >= 0 and finite, got {self.noise!r}; 0 is none")

    @property
    def coordinate_wise(self) -> bool:
        return self.noise == 0.0  # of which each stretch would be given the same

    def init_replica(self, master: Tensor) -> State:
        return {"x": master.clone(), "z": master.clone()}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        step_near_(y, state["x"], at(self.gamma, round), inner)
        if self.noise > 0.0:
            scale = self.noise * (2.0 * inner.param_groups[0]["lr"]) ** 0.5
            y.add_(torch.randn_like(y), alpha=scale)
        average_(state["z"], y, self.alpha)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return state["z"]

    def init_master(self, master: Tensor) -> State:
        return {"momentum": torch.zeros_like(master)}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        eta, mu = at(self.outer_lr, round), self.outer_momentum
        for x, v, m in blocks(master, pushed.mean, state["momentum"]):
            nesterov_(x, x - v, m, eta, mu)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        for vector in (y, state["x"], state["z"]):
            vector.copy_(master)
