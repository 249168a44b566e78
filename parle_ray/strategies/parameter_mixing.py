"""Parameter mixing: replicas that walk alone, and the mean of their means as the model."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.schedules import Schedule
from parle_ray.strategies.base import MeanStrategy, State
from parle_ray.strategies.tail import Tailed


@dataclass(frozen=True, kw_only=True)
class ParameterMixing(Tailed, MeanStrategy):
    """Model averaging, or parameter mixing (Jain et al., arXiv 1610.03774; JMLR 18(223), section 3;
    Zinkevich et al., NIPS 2010, without the tails).

        y^a <- optimiser(y^a, g^a)                       each alone, from beginning to end
        m^a <- mean of the y^a of the tail's steps;   x <- (1/n) sum_a m^a

    n machines take n times off the variance of the tail's mean and nothing off its bias, which is
    what the burn-in leaves of the start. The one exchange of the paper is that of the last
    round; the earlier ones, which nobody waits for, make checkpoints and evaluations of what the
    run would end with. Before the tail begins m^a is y^a.
    """

    sync_every: int | Schedule = 100

    equation: ClassVar[str] = "y^a <- optimiser(y^a, g^a);  x <- mean m^a,  m^a: mean of its tail"
    source: ClassVar[str] = "Jain et al., arXiv 1610.03774"
    travels: ClassVar[tuple[str, str]] = ("m^a", "x, unused")

    @property
    def overlaps(self) -> bool:
        return True

    def init_replica(self, master: Tensor) -> State:
        return {"mean": master.clone(), "steps": torch.zeros((), dtype=torch.float64)}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        inner.step()
        if not self.rounds_of_tail(round):
            return
        state["steps"] = state["steps"] + 1.0
        state["mean"].lerp_(y, 1.0 / state["steps"].item())

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return state["mean"] if self.rounds_of_tail(round) else y

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        """Nothing: a replica does not hear of the others."""
