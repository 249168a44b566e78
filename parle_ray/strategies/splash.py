"""Splash: every replica steps as if its samples were everybody's, and the steps are averaged."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.errors import InputError
from parle_ray.strategies.base import State
from parle_ray.strategies.local_sgd import LocalSGD


@dataclass(frozen=True, kw_only=True)
class Splash(LocalSGD):
    """Splash (Zhang, Jordan, arXiv 1506.07552, section 3): reweighted local steps.

        y^a <- optimiser(y^a, w g^a)                  w = n, L times
        x   <- x + (1/n) sum_a (y^a - x);   y^a <- x

    A shard is an n-th of the data; with each of its samples counted n times it stands for the
    whole, so a local pass goes as far as a sequential pass over all data, and the average
    takes off the variance that the weight brought. Averaging y^a is all of the paper's merge: what
    is added is averaged, and a factor on x (weight decay) is taken from one replica.

    The weight multiplies the gradient and not the optimiser's own weight decay; a penalty in
    loss_fn is weighted with the rest. The inner optimiser's state stays with the replica, where
    the paper's AdaGrad shares it, and n is the run's number of replicas, not found by trial.

    Attributes:
        max_weight: w = min(n, max_weight). w lr is the length of a local step, which must suit the
            problem: the paper's are convex, and for a deep network n may be too much.
    """

    max_weight: float = math.inf

    equation: ClassVar[str] = "y^a <- optimiser(y^a, n g^a);  x <- mean y^a;  y^a <- x"
    source: ClassVar[str] = "Zhang, Jordan, arXiv 1506.07552"

    def __post_init__(self) -> None:
        super().__post_init__()
        w = self.max_weight
        if isinstance(w, bool) or not isinstance(w, int | float) or not w >= 1.0:
            raise InputError(f"max_weight must be a number >= 1, got {w!r}; 1 is local SGD")

    def init_replica(self, master: Tensor) -> State:
        return {"weight": torch.ones((), dtype=torch.float64)}

    def seat(self, state: State, rank: int, num_replicas: int) -> None:
        weight = min(num_replicas, self.max_weight)
        state["weight"] = torch.tensor(weight, dtype=torch.float64)

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        assert y.grad is not None
        y.grad.mul_(state["weight"].item())
        inner.step()
