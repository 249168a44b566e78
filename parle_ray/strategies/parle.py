"""Parle: replicas that each follow local entropy, elastically coupled to a master."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import average_, blocks, nesterov_, trade_
from parle_ray.errors import InputError
from parle_ray.fold import Pushed
from parle_ray.schedules import Geometric, Schedule, at
from parle_ray.strategies.base import State, Strategy
from parle_ray.strategies.chain import step_near_


@dataclass(frozen=True, kw_only=True)
class Parle(Strategy):
    """Parle (Chaudhari et al., arXiv 1707.00424), equations (8a) to (8d).

    Minimises `sum_a f_gamma(x^a) + (1/2 rho) ||x^a - x||^2` over the replicas x^a and the master x,
    where f_gamma is the local entropy of the loss: its gradient is `(x^a - <y>)/gamma`, and a chain
    y^a of L local steps, averaged into z^a, estimates `<y>`.

        (8a)  y^a <- y^a - lr [ grad f(y^a) + (1/gamma)(y^a - x^a) ]        the inner optimiser
        (8b)  z^a <- alpha z^a + (1 - alpha) y^a
        (8c)  x^a <- x^a - eta [ (x^a - z^a) + (1/rho)(x^a - x) ]           once every L steps
        (8d)  x   <- (1/n) sum_a x^a

    after which y^a and z^a start again at x^a. (8c) goes through Nesterov momentum, as the
    authors' code does; the inner optimiser keeps its own.

    The x of (8c) is the master of the round *before*. It depends on what was pushed a round ago,
    so it travels while the replica walks: the exchange is hidden, and exact.

    Attributes:
        gamma: scope of local entropy; `math.inf` leaves the chain free.
        rho: inverse strength of the elastic coupling; `math.inf` leaves the replicas alone.
        alpha: memory of the running mean z; 0 takes the last y.
        outer_lr: eta of (8c).
        outer_momentum: Nesterov momentum of (8c); 0 switches it off.
        reference: `"master"`, the paper's x_k, or `"mean_z"`, the mean of the z^a just computed,
            as in the authors' experiments, for which replicas must wait.
    """

    sync_every: int | Schedule = 25
    gamma: float | Schedule = Geometric(100.0, 1.0)
    rho: float | Schedule = 4.0
    alpha: float = 0.75
    outer_lr: float | Schedule = 0.7
    outer_momentum: float = 0.7
    reference: Literal["master", "mean_z"] = "master"

    scheduled: ClassVar[tuple[str, ...]] = ("gamma", "rho", "outer_lr")
    equation: ClassVar[str] = "x^a <- x^a - eta[(x^a - z^a) + (1/rho)(x^a - x)];  x <- mean x^a"
    source: ClassVar[str] = "Chaudhari et al., arXiv 1707.00424"
    travels: ClassVar[tuple[str, str]] = ("x^a", "x")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("alpha")
        self._check_fraction("outer_momentum")
        if self.reference not in ("master", "mean_z"):
            raise InputError(f"reference must be 'master' or 'mean_z', got {self.reference!r}")

    @property
    def overlaps(self) -> bool:
        return self.reference == "master"

    @property
    def master_is_mean(self) -> bool:
        return self.overlaps

    def init_replica(self, master: Tensor) -> State:
        return {"x": master.clone(), "z": master.clone(), "momentum": torch.zeros_like(master)}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        step_near_(y, state["x"], at(self.gamma, round), inner)  # (8a)
        average_(state["z"], y, self.alpha)  #                     (8b)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        eta, mu, coupling = at(self.outer_lr, round), self.outer_momentum, 1.0 / at(self.rho, round)
        for y_, x, z, m, x_k in blocks(y, state["x"], state["z"], state["momentum"], master):
            d = z.neg_().add_(x)  # d = x^a - z^a, in the memory of z, which starts anew below
            gap = torch.sub(x, x_k, out=y_)  # exactly 0 where they agree; y starts anew as well
            nesterov_(x, d.add_(gap, alpha=coupling), m, eta, mu)  # (8c)
            y_.copy_(x)
            z.copy_(x)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return y if self.overlaps else state["z"]  # y stands at x^a once (8c) is done

    def init_master(self, master: Tensor) -> State:
        if self.overlaps:
            return {}
        return {"mean_z": master.clone(), "momentum": torch.zeros_like(master)}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        if self.overlaps:
            trade_(master, pushed.mean)  # (8d)
            return
        # With x = mean x^a, averaging (8c) over a gives d = (1 + 1/rho)(x - mean z): the
        # coordinator follows the mean exactly, without a second exchange.
        eta, mu, coupling = at(self.outer_lr, round), self.outer_momentum, 1.0 / at(self.rho, round)
        for x, z, m in blocks(master, pushed.mean, state["momentum"]):
            nesterov_(x, (x - z).mul_(1.0 + coupling), m, eta, mu)
        state["mean_z"].copy_(pushed.mean)

    def reply(self, master: Tensor, state: State) -> Tensor:
        return master if self.overlaps else state["mean_z"]
