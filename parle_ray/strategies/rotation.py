"""Model rotation: each replica owns a block of the parameters, and the blocks go round."""

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import norm_squared, piece
from parle_ray.fold import Pushed
from parle_ray.schedules import Schedule
from parle_ray.strategies.base import State, Strategy


def block(rank: int, num_replicas: int, round: int) -> int:
    """p_k(a), the block that replica a owns in round k.

    In n rounds each replica owns each block once: `p_k(a) = order((a + k) mod n)`, in another
    order of the blocks every n rounds.
    """
    turn, shift = divmod(round, num_replicas)
    return _order(turn, num_replicas)[(rank + shift) % num_replicas]


@lru_cache(maxsize=4)
def _order(turn: int, num_replicas: int) -> list[int]:
    return random.Random(turn).sample(range(num_replicas), num_replicas)


@dataclass(frozen=True, kw_only=True)
class Rotation(Strategy):
    """Model rotation (Harp; Zhang, Peng, Qiu, ICCS 2016, the implementation "rtt").

        y^a_b <- optimiser(y^a, g^a)_b          b = p_k(a), L times; the rest of y^a rests
        x_b   <- y^a_b,  every b from its owner;   y^a <- x

    Nobody averages: of each parameter there is one newest value, which its owner of the round
    works on, with the data of that replica. Where the loss is separable in the blocks, as matrix
    factorisation is in its columns, this is sequential SGD on each of them; elsewhere it is block
    coordinate descent, in which the blocks do not see each other for a round.

    The blocks are n equal stretches of the vector. What is pushed is the step of the block, and the
    coordinator's sum of n of them, each zero outside of its block, is all new blocks. The
    inner optimiser's momentum stays with the replica and decays until the block is back. The block
    of a replica that is lost rests for that round. Harp's rounds by the clock are `uneven`; its two
    slices, of which one travels while the other is worked on, are not here.
    """

    sync_every: int | Schedule = 25

    equation: ClassVar[str] = "y^a <- optimiser(y^a, g^a) in block p_k(a);  x <- x + sum (y^a - x)"
    source: ClassVar[str] = "Zhang, Peng, Qiu (Harp), ICCS 2016, doi 10.1016/j.procs.2016.05.300"
    travels: ClassVar[tuple[str, str]] = ("a block of y^a - x", "x")

    @property
    def coordinate_wise(self) -> bool:
        return False  # a block is where it is in the whole vector

    @property
    def pushes_near_master(self) -> bool:
        return False

    @property
    def merges_mean(self) -> bool:
        return False  # of each parameter there is one newest value

    @property
    def merges_late(self) -> bool:
        return False  # the block has another owner by then

    def sends(self, round: int, num_params: int, rank: int, num_replicas: int) -> slice:
        return piece(block(rank, num_replicas, round), num_replicas, num_params)

    def init_replica(self, master: Tensor) -> State:
        return {
            "x": master.clone(),
            "step": torch.zeros_like(master),
            "seat": torch.tensor([0, 1]),
        }

    def seat(self, state: State, rank: int, num_replicas: int) -> None:
        state["seat"] = torch.tensor([rank, num_replicas])

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        assert y.grad is not None
        for rest in self._rest(y, state, round):
            y.grad[rest].zero_()
        inner.step()
        for rest in self._rest(y, state, round):
            y[rest].copy_(state["x"][rest])  # what momentum and weight decay moved

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        own = self._own(y, state, round)
        return torch.sub(y[own], state["x"][own], out=state["step"][own])

    def init_master(self, master: Tensor) -> State:
        return {}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        master.add_(pushed.mean, alpha=pushed.count)

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        y.copy_(master)
        state["x"].copy_(master)

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        return pushed.spread / pushed.count + norm_squared(pushed.mean)

    def _own(self, y: Tensor, state: State, round: int) -> slice:
        """The stretch that is the replica's to move."""
        return self.sends(round, len(y), *state["seat"].tolist())

    def _rest(self, y: Tensor, state: State, round: int) -> tuple[slice, slice]:
        """The two that are not."""
        own = self._own(y, state, round)
        return slice(0, own.start), slice(own.stop, len(y))
