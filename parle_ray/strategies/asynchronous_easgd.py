"""Asynchronous EASGD: a spring between a replica and the master, taken when the replica comes."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer

from parle_ray.errors import InputError
from parle_ray.fold import Pushed
from parle_ray.strategies.base import AsynchronousStrategy, State


@dataclass(frozen=True, kw_only=True)
class AsynchronousEASGD(AsynchronousStrategy):
    """Asynchronous EASGD, SpeeDO's fifth scheme.

        y <- optimiser(y, g), L times;   e = r (y - w);   y <- y - e;   w <- w + e

    for one replica after the other, as they come. What is sent back is w' = w + e, by which the
    replica knows its spring: y - w' = (1 - r)(y - w), so that e = r/(1 - r) (y - w').
    `ElasticSGD(moving_rate=r)` is the form in step. With r = 1/2 replica and master meet half-way.
    Source: Zhang, Choromanska, LeCun, arXiv 1412.6651, algorithm 1; Zheng, Jiang, Wu, Chang,
    SpeeDO, NIPS LearningSys 2015.

    Attributes:
        moving_rate: r.
    """

    sync_every: int = 5
    moving_rate: float = 0.5

    equation: ClassVar[str] = "e = r (y^a - w), as it comes;  y^a <- y^a - e;  w <- w + e"
    source: ClassVar[str] = "Zhang, Choromanska, LeCun, arXiv 1412.6651; SpeeDO, 2015"
    travels: ClassVar[tuple[str, str]] = ("y^a", "w")

    def __post_init__(self) -> None:
        super().__post_init__()
        r = self.moving_rate
        if isinstance(r, bool) or not isinstance(r, int | float) or not 0.0 < r < 1.0:
            raise InputError(f"moving_rate must be > 0 and < 1, got {r!r}")

    def init_replica(self, master: Tensor) -> State:
        return {}

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return y

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        master.lerp_(pushed.mean, self.moving_rate)  # w <- w + r (y - w)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        y.lerp_(master, self.moving_rate / (1.0 - self.moving_rate))  # y <- y - r/(1-r) (y - w')
