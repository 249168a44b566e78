"""Tail-averaging: mini-batch SGD, and the mean of its last iterates as the model."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from parle_ray.strategies.base import State
from parle_ray.strategies.sgd import SGD
from parle_ray.strategies.tail import Tailed


@dataclass(frozen=True, kw_only=True)
class TailAveraging(Tailed, SGD):
    """Mini-batching with tail-averaging (Jain, Kakade, Kidambi, Netrapalli, Sidford,
    arXiv 1610.03774; JMLR 18(223), algorithm 1).

        x_t  <- optimiser(x_{t-1}, (1/n) sum_a g^a)                 SGD, at the coordinator
        mean <- (1/(T-s)) (x_{s+1} + ... + x_T)                     s = T - tail T

    The iterates of a constant learning rate wander about the optimum for ever; their mean does not.
    What is evaluated and saved is that mean, and until its first round the iterate itself. The
    replicas never see it, so training is that of `SGD`, to the bit. `tail` and the number of
    rounds are those of T; the mean has the precision of the parameters.
    """

    equation: ClassVar[str] = "x <- optimiser(x, mean g^a);  model: mean of the x of the tail"
    source: ClassVar[str] = "Jain et al., arXiv 1610.03774"

    def init_master(self, master: Tensor) -> State:
        return {"mean": master.clone()}

    def follow(self, master: Tensor, state: State, round: int) -> None:
        count = max(1, self.rounds_of_tail(round))
        state["mean"].lerp_(master, 1.0 / count)  # 1/i of the i-th: the mean of all i

    def model(self, master: Tensor, state: State) -> Tensor:
        return state["mean"]
