"""SlowMo: local steps, and a slow momentum on how far they went."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import blocks
from parle_ray.schedules import Schedule, at
from parle_ray.strategies.base import MeanStrategy, State


@dataclass(frozen=True, kw_only=True)
class SlowMo(MeanStrategy):
    """SlowMo (Wang, Tantia, Ballas, Rabbat, arXiv 1910.00643, algorithm 1).

        u <- beta u + (1/lr)(x - (1/n) sum_a y^a)        the slow momentum
        x <- x - alpha lr u;   y^a <- x

    Both lines are linear in y^a, so each replica writes them for its own y^a, and the mean of what
    they push is the next x. Only replicas know lr, the inner optimiser's. As in the paper every
    one keeps u, here as the last step of x, `v = r u` with `r = alpha lr` of then:

        p^a = x - [ beta (alpha lr / r) v + alpha (x - y^a) ];   x <- mean p^a

    A replica that starts again has v from its second round on. The inner optimiser's momentum
    stays with the replica.

    Attributes:
        outer_lr: alpha.
        outer_momentum: beta; 0 and `outer_lr=1` give local SGD.
    """

    sync_every: int | Schedule = 12
    outer_lr: float | Schedule = 1.0
    outer_momentum: float = 0.7

    scheduled: ClassVar[tuple[str, ...]] = ("outer_lr",)
    equation: ClassVar[str] = "u <- beta u + (x - mean y^a)/lr;  x <- x - alpha lr u;  y^a <- x"
    source: ClassVar[str] = "Wang et al., arXiv 1910.00643"
    travels: ClassVar[tuple[str, str]] = ("p^a, its x", "x")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("outer_momentum")

    def init_replica(self, master: Tensor) -> State:
        return {
            "x": master.clone(),
            "v": torch.zeros_like(master),
            "pushed": torch.zeros_like(master),
            "r": torch.zeros((), dtype=torch.float64),
            "lr": torch.zeros((), dtype=torch.float64),
        }

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        inner.step()
        state["lr"] = torch.tensor(float(inner.param_groups[0]["lr"]), dtype=torch.float64)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        alpha, r = at(self.outer_lr, round), state["r"].item()
        kept = self.outer_momentum * alpha * state["lr"].item() / r if r > 0.0 else 0.0
        for p, x, v, y_ in blocks(state["pushed"], state["x"], state["v"], y):
            torch.sub(x, y_, out=p).mul_(alpha).add_(v, alpha=kept)
            torch.sub(x, p, out=p)
        return state["pushed"]

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        for y_, x, v, x_new in blocks(y, state["x"], state["v"], master):
            torch.sub(x, x_new, out=v)
            x.copy_(x_new)
            y_.copy_(x_new)
        state["r"] = at(self.outer_lr, round) * state["lr"]
