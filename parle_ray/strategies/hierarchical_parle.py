"""Hierarchical Parle: deputies under the sheriff of their node, sheriffs under the master."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer

from parle_ray.errors import InputError
from parle_ray.schedules import at
from parle_ray.strategies.base import State
from parle_ray.strategies.parle import Parle


@dataclass(frozen=True, kw_only=True)
class HierarchicalParle(Parle):
    """Parle with many deputies under one sheriff (Chaudhari et al., arXiv 1707.00424).

    A replica of several processes (`execution.num_processes`) is a node a, each of its processes a
    deputy b that walks on data of its own. With

        sum_a [ sum_b f_gamma(x^ab) + (1/2 rho) ||x^ab - x^a||^2 ]  +  (D/2 node_rho) ||x^a - x||^2

    over n nodes of D deputies, the sheriffs x^a and the master x,

        (8a)  y^ab <- y^ab - lr [ grad f(y^ab) + (1/gamma)(y^ab - x^ab) ]
        (8b)  z^ab <- alpha z^ab + (1 - alpha) y^ab
        (8c)  x^ab <- x^ab - eta [ (x^ab - z^ab) + (1/rho)(x^ab - x^a) + (1/node_rho)(x^a - x) ]
        (8d)  x^a  <- (1/D) sum_b x^ab      `meetings` times a round, within the node
              x    <- (1/n) sum_a x^a       once, between the nodes

    The last term of (8c), the same for all deputies of a node, is there once a round, at its end;
    it is the gap between sheriff and master as it was when the round began, so that x travels
    meanwhile. With `node_rho = rho` and one meeting a round, this is Parle with n D replicas; on
    one node there is no gap, and it is so to the bit.

    Attributes:
        sync_every: mini-batches of a deputy between two exchanges of the nodes.
        meetings: of the deputies in a round; L of the paper is `sync_every / meetings`.
        rho: inverse strength of the coupling of the deputies to their sheriff.
        node_rho: inverse strength of the coupling of the sheriffs to the master.
    """

    sync_every: int = 50
    meetings: int = 2
    node_rho: float = 4.0
    reference: Literal["master"] = "master"

    equation: ClassVar[str] = (
        "Parle in nodes, (x^ab - x^a)/rho; (x^a - x)/node_rho between; x <- mean x^a"
    )
    divisors: ClassVar[tuple[str, ...]] = (*Parle.divisors, "node_rho")
    walks_apart: ClassVar[bool] = True
    changes_pace: ClassVar[bool] = False
    fixed_walk: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_scheduled("node_rho")
        whole = isinstance(self.meetings, int) and not isinstance(self.meetings, bool)
        if not whole or self.meetings < 1 or self.sync_every % self.meetings:
            raise InputError(
                f"meetings must be a whole number that divides sync_every={self.sync_every}, "
                f"got {self.meetings!r}"
            )
        if not self.overlaps:
            raise InputError(f"reference must be 'master', got {self.reference!r}")
        if self.rho == math.inf:
            raise InputError("rho must be finite: without it there is no sheriff; use Parle")

    @property
    def num_legs(self) -> int:
        return self.meetings

    def init_replica(self, master: Tensor) -> State:
        known = {"sheriff": master.clone(), "pushed": master.clone()}
        return super().init_replica(master) | known

    def rest(self, y: Tensor, state: State, round: int) -> None:
        super().pull(y, state, state["sheriff"], round)  # (8c), alone with the sheriff

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        # (1/rho)(x^ab - anchor) is both springs of (8c); it takes the memory of what was pushed.
        share = at(self.rho, round) / self.node_rho
        anchor = state["pushed"].sub_(master).mul_(-share).add_(state["sheriff"])
        super().pull(y, state, anchor, round)

    def meet(self, state: State, mean: Tensor) -> None:
        state["sheriff"].copy_(mean)  # (8d)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return state["pushed"].copy_(state["sheriff"])
