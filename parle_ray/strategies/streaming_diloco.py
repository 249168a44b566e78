"""Streaming DiLoCo: a fragment of the parameters at a time, behind the next steps."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import blocks, nesterov_, norm_squared, piece
from parle_ray.errors import InputError
from parle_ray.fold import Pushed
from parle_ray.schedules import Schedule, at
from parle_ray.strategies.base import State
from parle_ray.strategies.diloco import DiLoCo


@dataclass(frozen=True, kw_only=True)
class StreamingDiLoCo(DiLoCo):
    """Streaming DiLoCo (Douillard et al., arXiv 2501.18512, algorithm 2).

    The vector is cut into F fragments, of which round k moves one, p = k mod F; the next round,
    while the replicas walk on, is the time in which it travels.

        d^a <- x_p - y^a_p                                 at the end of round k: the outer gradient
        m_p <- mu m_p + mean d^a;   x_p <- x_p - eta (mean d^a + mu m_p)
        y^a_p <- alpha y^a_p + (1 - alpha) x_p             at the end of round k + 1

    The x_p of the first line is the one that the replica took in last. H of the paper, the steps
    between two exchanges of a fragment, is F L, and its tau, those that a fragment travels, is L:
    as many as there can be while never more than one is on its way. With one fragment tau is H,
    which the paper does not have: then d^a of this round is taken before the x of the last comes
    in, and with alpha = 0 it is DiLoCo whose outer gradient is a round old.

    Fragments are equal stretches of the vector, wherever tensors end: each round moves as many
    bytes, and the algorithm treats every parameter by itself. The paper cuts between layers, and
    strides over them.

    Attributes:
        sync_every: L = H/F, the steps of a round.
        fragments: F.
        alpha: the part of itself that a replica keeps when a fragment comes; 0 takes it as it is.
    """

    sync_every: int | Schedule = 25
    fragments: int = 4
    alpha: float = 0.5

    equation: ClassVar[str] = (
        "x_p <- x_p - eta Nesterov(mean(x_p - y^a_p));  y^a_p <- mix(y^a, x)_p"
    )
    source: ClassVar[str] = "Douillard et al., arXiv 2501.18512"
    travels: ClassVar[tuple[str, str]] = ("x_p - y^a_p", "x_p")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("alpha")
        fragments = self.fragments
        if isinstance(fragments, bool) or not isinstance(fragments, int) or fragments < 1:
            raise InputError(f"fragments must be a whole number >= 1, got {fragments!r}")

    @property
    def overlaps(self) -> bool:
        return True

    @property
    def coordinate_wise(self) -> bool:
        return False  # a fragment is where it is in the whole vector

    @property
    def pushes_near_master(self) -> bool:
        return False

    def moves(self, round: int, num_params: int) -> slice:
        return piece(round % self.fragments, self.fragments, num_params)

    def init_replica(self, master: Tensor) -> State:
        longest = -(-len(master) // self.fragments)
        return {"x": master.clone(), "d": master.new_zeros(longest)}

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        x, goes, comes = state["x"], self.moves(round, len(y)), self.moves(round - 1, len(y))
        torch.sub(x[goes], y[goes], out=self._d(y, state, round))
        if round == 0 and self.fragments > 1:
            return  # this fragment has not been anywhere
        x[comes].copy_(master)
        y[comes].lerp_(x[comes], 1.0 - self.alpha)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        return self._d(y, state, round)

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        eta, mu = at(self.outer_lr, round), self.outer_momentum
        for x, d, m in blocks(master, pushed.mean, state["momentum"]):
            nesterov_(x, d, m, eta, mu)

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        return pushed.spread / pushed.count + norm_squared(pushed.mean)

    def _d(self, y: Tensor, state: State, round: int) -> Tensor:
        goes = self.moves(round, len(y))
        return state["d"][: goes.stop - goes.start]
