"""The processes of one replica, each of which takes a part of every mini-batch.

    g = sum_j (B_j / B) g_j        g_j: the gradient of the loss on the B_j examples of part j

The parts are added in their order, whoever computes them: one process that takes one part after
the other (`Alone`) comes to the bits of several (`Together`).
Source: Yadan et al., arXiv 1312.5853, the data-parallel scheme, inside a replica.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from parle_ray.equations import piece
from parle_ray.execution import map_tensors, num_samples
from parle_ray.flat import FlatModule
from parle_ray.generators import reseeded
from parle_ray.replica import Reply
from parle_ray.team.sums import Sums, Swapping

Backward = Callable[[Any], Tensor]
"""Adds the gradient of the loss on a batch to the flat gradient; the loss, without its graph."""
REPLY, RESTART, NOTHING = range(3)
"""What the first process tells the others of the reply that they wait for."""


class Group(Swapping, Protocol):
    """The processes of one replica and no others.

    Raises:
        TeamBroken: from every method: one of the others is gone, or too late.
    """

    def broadcast(self, tensor: Tensor) -> None:
        """Fill it, in all others, by what it is in the first."""

    def send(self, tensor: Tensor, other: int) -> Callable[[], None]:
        """Give it to one, who takes what it is given in order; waits until it may be changed."""

    def receive(self, tensor: Tensor, other: int) -> None:
        """Fill it by what that one has sent."""


class TeamBroken(RuntimeError):
    """A process of this replica is gone, or has not answered in time."""


class NoReply(Exception):
    """The first process has given up the round, and this one has to."""


class Team:
    """What a replica that is one process needs; the others build on it.

    Attributes:
        leads: whether this process is the one that exchanges with the coordinator.
        on_host: whether whole vectors are in host memory alone, as no device need have the room.
    """

    leads = True
    on_host = False

    def divide(self, flat: FlatModule, device: torch.device) -> FlatModule:
        """What this process has of the module from now on."""
        return flat

    def gather(self, vector: Tensor) -> None:
        """Fill the stretches of a vector that other processes take care of."""

    def gradient(self, gradient: Tensor, batch: Any, backward: Backward) -> Tensor:
        """The gradient of a mini-batch into `gradient`, which holds zeros; the loss."""
        return backward(batch)

    def losses(self, losses: Tensor) -> Tensor:
        """Of the steps of a round, `(sync_every,)`, from those that `gradient` returned."""
        return losses

    def mean(self, vector: Tensor) -> Tensor:
        """Of the vectors of processes that walk apart."""
        return vector

    def tell(self, reply: Reply | None) -> None:
        """Hand on the coordinator's reply; None: there will be none, as the round is given up."""

    def own(self, reply: Reply) -> Reply:
        """What this process takes in of a reply that it was given, or has heard."""
        return reply


class Alone(Team):
    """All parts in this process, one after the other.

    Args:
        size: how many there are.
        num_pipelines: which add up their parts before they are added up.
    """

    def __init__(self, size: int, num_pipelines: int = 1) -> None:
        self._size, self._num_pipelines = size, num_pipelines

    def gradient(self, gradient: Tensor, batch: Any, backward: Backward) -> Tensor:
        seed, total, loss = draw_seed(), torch.zeros_like(gradient), no_loss(gradient)
        for pipeline in range(self._num_pipelines):
            subtotal, told = torch.zeros_like(gradient), no_loss(gradient)
            for index in turns(pipeline, self._num_pipelines, self._size):
                told += _part(index, self._size, seed, gradient, batch, backward)
                subtotal.add_(gradient)
                gradient.zero_()
            loss += told
            total.add_(subtotal)
        gradient.copy_(total)
        return loss


class Together(Team):
    """One part in this process, and the others in those of its group."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._sums = Sums(group)
        self.leads = group.index == 0

    def gradient(self, gradient: Tensor, batch: Any, backward: Backward) -> Tensor:
        index, size = self._group.index, self._group.size
        loss = _part(index, size, draw_seed(), gradient, batch, backward)
        self._add(gradient)
        return loss

    def losses(self, losses: Tensor) -> Tensor:
        others = [torch.empty_like(losses) for _ in range(self._group.size)]
        self._group.swap([losses] * self._group.size, others)
        others[self._group.index] = losses
        total = torch.zeros_like(losses)
        for part in others:
            total += part
        return total

    def tell(self, reply: Reply | None) -> None:
        if self.leads:
            word = NOTHING if reply is None else RESTART if reply.restart else REPLY
            numbers = () if reply is None else reply.numbers
            self._group.broadcast(torch.tensor([word, len(numbers)]))
            if reply is not None:
                self._hand_out(reply.vector)
            if numbers:
                self._group.broadcast(torch.tensor(numbers, dtype=torch.float64))

    def hear(self, like: Tensor, news: slice | None = None) -> Reply:
        """What the first process tells, a vector like this process's own.

        Args:
            news: it is this stretch of it, if it is no restart.

        Raises:
            NoReply: it has given up the round.
        """
        told = torch.tensor([NOTHING, 0])
        self._group.broadcast(told)
        word, count = told.tolist()
        if word == NOTHING:
            raise NoReply
        part = None if word == RESTART else news
        vector = self._handed(like if part is None else like[part])
        numbers = torch.empty(count, dtype=torch.float64)
        if count:
            self._group.broadcast(numbers)
        restart = bool(word == RESTART)
        return Reply(vector, restart, part=part, numbers=tuple(numbers.tolist()))

    def _hand_out(self, vector: Tensor) -> None:
        self._group.broadcast(vector)

    def _handed(self, like: Tensor) -> Tensor:
        vector = torch.empty_like(like)
        self._group.broadcast(vector)
        return vector

    def _add(self, gradient: Tensor) -> None:
        self._sums.sum(gradient)


def cut(batch: Any, index: int, size: int) -> tuple[Any, float]:
    """A part of a batch, and its share of the examples.

    Every tensor that is as long as the first one is cut; what is not goes to all parts whole.

    >>> cut({"x": torch.arange(5), "weight": torch.tensor(2.0)}, 1, 2)
    ({'x': tensor([2, 3, 4]), 'weight': tensor(2.)}, 0.6)
    """
    whole = num_samples(batch)
    start, stop = index * whole // size, (index + 1) * whole // size

    def rows(tensor: Tensor) -> Tensor:
        return tensor[start:stop] if tensor.dim() and len(tensor) == whole else tensor

    return map_tensors(rows, batch), (stop - start) / whole


def turns(pipeline: int, num_pipelines: int, num_microbatches: int) -> range:
    """The micro-batches that go through one of several pipelines."""
    own = piece(pipeline, num_pipelines, num_microbatches)
    return range(own.start, own.stop)


def _part(
    index: int, size: int, seed: int, gradient: Tensor, batch: Any, backward: Backward
) -> Tensor:
    """A part's addend of gradient and loss. Its random numbers are its own, whoever computes it."""
    part, share = cut(batch, index, size)
    if share == 0.0:
        return no_loss(gradient)
    with reseeded(seed, index, cuda=gradient.device.type == "cuda"):
        loss = backward(part)
    gradient.mul_(share)
    return no_loss(gradient) + share * loss


def no_loss(gradient: Tensor) -> Tensor:
    """Zero, of a type in which all processes add."""
    wide = torch.promote_types(gradient.dtype, torch.float32)
    return torch.zeros((), dtype=wide, device=gradient.device)


def draw_seed() -> int:
    """For a mini-batch: all processes of a replica draw the same."""
    return int(torch.randint(2**62, ()))
