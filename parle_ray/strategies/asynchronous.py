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
    replica. With all steps taken from one w and a factor of n, this is `LocalSGD`, SpeeDO's
    synchronous scheme.
    Source: Zheng, Jiang, Wu, Chang, SpeeDO, NIPS LearningSys 2015, and its code, obdg/speedo; of
    steps that come late, Agarwal, Duchi, arXiv 1104.5525.

    Attributes:
        factor: that a step is divided by; None is n, the number of replicas. With 1, as in
            SpeeDO, n replicas move the master n times as far as one in the same time, with steps
            that are old, and the learning rate has to be lower.
    """

    sync_every: int = 5
    factor: float | None = None

    equation: ClassVar[str] = "w <- w + (y^a - w_s)/factor, as it comes;  y^a <- w"
    source: ClassVar[str] = "Zheng et al. (SpeeDO), NIPS LearningSys 2015; cf. arXiv 1104.5525"
    travels: ClassVar[tuple[str, str]] = ("y^a - w_s", "w")

    def __post_init__(self) -> None:
        super().__post_init__()
        f = self.factor
        number = isinstance(f, int | float) and not isinstance(f, bool)
        if f is not None and not (number and 1.0 <= f < math.inf):
            raise InputError(f"factor must be a finite number >= 1, or null for n, got {f!r}")

    def init_replica(self, master: Tensor) -> State:
        return {
            "start": master.clone(),
            "step": torch.zeros_like(master),
            "factor": torch.ones((), dtype=torch.float64),
        }

    def seat(self, state: State, rank: int, num_replicas: int) -> None:
        state["factor"] = torch.tensor(self.factor or num_replicas, dtype=torch.float64)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return torch.sub(y, state["start"], out=state["step"]).div_(state["factor"].item())

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        master.add_(pushed.mean)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        y.copy_(master)
        state["start"].copy_(master)

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        """How far the master was moved: where the replica stands, it was not told."""
        return norm_squared(pushed.mean)
