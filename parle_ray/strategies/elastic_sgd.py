"""Elastic-SGD: replicas tied to a centre by springs."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import blocks, norm_squared, trade_
from parle_ray.errors import InputError
from parle_ray.fold import Pushed
from parle_ray.schedules import Schedule, Scoping, at
from parle_ray.strategies.base import State, Strategy


@dataclass(frozen=True, kw_only=True)
class ElasticSGD(Strategy):
    """Elastic-SGD, as Parle's paper writes it and as EASGD was published.

    The spring e^a is taken at the replica's place x^a when the round starts, against the centre
    x of that time, and applied after the L local steps; so the centre has a round to arrive.

        e^a = r (x^a - x)
        x^a <- x^a - (L steps of the inner optimiser) - e^a
        x   <- mean x^a           with r = lr/rho:          Parle's paper, section 2.3
        x   <- x + sum_a e^a      with r = moving_rate:     EASGD, beta = n moving_rate

    With `moving_rate` and a Nesterov inner optimiser it is EAMSGD, of the same paper. torch keeps
    a replica at the point where the next gradient is taken, x^a + delta v^a in the paper's
    letters; the spring is that point's, where the paper has x^a itself.
    Source: Zhang, Choromanska, LeCun, arXiv 1412.6651, equations (5) and (6), algorithm 2.

    Attributes:
        rho: inverse strength of the springs in the paper's form; lr is the inner optimiser's.
        moving_rate: EASGD's rate; None takes the paper's form.
    """

    rho: float | Schedule = Scoping(1.0, floor=0.1)
    moving_rate: float | None = None

    scheduled: ClassVar[tuple[str, ...]] = ("rho",)
    equation: ClassVar[str] = "x^a <- x^a - lr g - r (x^a - x);  x <- mean x^a  or  x + sum_a e^a"
    source: ClassVar[str] = "Zhang, Choromanska, LeCun, arXiv 1412.6651"
    travels: ClassVar[tuple[str, str]] = ("x^a or e^a", "x")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.moving_rate is not None and not 0.0 < self.moving_rate < 1.0:
            raise InputError(f"moving_rate must be > 0 and < 1, got {self.moving_rate!r}")

    @property
    def overlaps(self) -> bool:
        return True

    @property
    def pushes_near_master(self) -> bool:
        return self.moving_rate is None

    @property
    def merges_mean(self) -> bool:
        return self.moving_rate is None  # springs add up

    @property
    def master_is_mean(self) -> bool:
        return self.moving_rate is None

    def init_replica(self, master: Tensor) -> State:
        # `rate` keeps lr/rho of the round for `pull`, which does not see the optimiser.
        return {
            "x": master.clone(),
            "e": torch.zeros_like(master),
            "rate": torch.zeros((), dtype=torch.float64),
        }

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        inner.step()
        rate = self.moving_rate or inner.param_groups[0]["lr"] / at(self.rho, round)
        state["rate"] = torch.tensor(rate, dtype=torch.float64)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        rate = state["rate"].item()
        for y_, x, e, x_k in blocks(y, state["x"], state["e"], master):
            y_.sub_(torch.sub(x, x_k, out=e).mul_(rate))
            x.copy_(y_)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return y if self.moving_rate is None else state["e"]

    def init_master(self, master: Tensor) -> State:
        return {}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        if self.moving_rate is None:
            trade_(master, pushed.mean)
            return
        master.add_(pushed.mean, alpha=pushed.count)

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        if self.moving_rate is None:
            return super().gap(master, pushed)
        springs = pushed.spread / pushed.count + norm_squared(pushed.mean)
        return springs / self.moving_rate**2
