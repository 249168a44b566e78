"""Asynchronous SGD: each replica's step is added to the master when it comes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import norm_squared
from parle_ray.errors import InputError
from parle_ray.fold import Pushed
from parle_ray.strategies.base import AsynchronousStrategy, State


@dataclass(frozen=True, kw_only=True)
class Asynchronous(AsynchronousStrategy):
    """SpeeDO's asynchronous scheme.

        y <- w;   y <- optimiser(y, g), L times;   w <- w + (y - w_s)/factor

    w_s is the master from which the replica set out; the others have moved it to w meanwhile. The
    inner optimiser's momentum and weight decay are part of the step, and its state stays with the
    replica. With all steps taken from one w and `factor` n, this is `LocalSGD`, SpeeDO's
    synchronous scheme.
    Source: Zheng, Jiang, Wu, Chang, SpeeDO, NIPS LearningSys 2015, and its code, obdg/speedo; of
    steps that come late, Agarwal, Duchi, arXiv 1104.5525.

    Attributes:
        factor: that a step is divided by. With 1, n replicas move the master n times as far as
            one in the same time, with steps that are old: divide the learning rate, or set n.
    """

    sync_every: int = 5
    factor: float = 1.0

    equation: ClassVar[str] = "w <- w + (y^a - w_s)/factor, as it comes;  y^a <- w"
    source: ClassVar[str] = "Zheng et al. (SpeeDO), NIPS LearningSys 2015; cf. arXiv 1104.5525"
    travels: ClassVar[tuple[str, str]] = ("y^a - w_s", "w")

    def __post_init__(self) -> None:
        super().__post_init__()
        f = self.factor
        if isinstance(f, bool) or not isinstance(f, int | float) or not 1.0 <= f < math.inf:
            raise InputError(f"factor must be a finite number >= 1, got {f!r}; 1 adds whole steps")

    def init_replica(self, master: Tensor) -> State:
        return {"start": master.clone(), "step": torch.zeros_like(master)}

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return torch.sub(y, state["start"], out=state["step"])

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        master.add_(pushed.mean, alpha=1.0 / self.factor)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        y.copy_(master)
        state["start"].copy_(master)

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        """How far the replica has gone from where it set out."""
        return norm_squared(pushed.mean)
