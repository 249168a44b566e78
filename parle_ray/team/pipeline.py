"""A replica whose layers are divided among its processes: a pipeline of micro-batches (GPipe).

    y_is = layers_s(y_i,s-1)      process s = 1 ... m, micro-batch i = 1 ... n; and so back
    g = sum_i (B_i / B) g_i       g_i: the gradient of the loss on its B_i examples

While one process has a micro-batch, the next has the one before: each is busy for n turns of
n + m - 1. What travels are activations, their gradients, and where torch's random numbers are: so
the bits are those of one process that takes micro-batch after micro-batch, dropout included.

There may be p pipelines beside each other, with n/p micro-batches each: m columns of p processes
that have the same layers, and add up their gradients. It is the hybrid of both parallelisms.
Sources: Huang et al. (GPipe), arXiv 1811.06965; Yadan et al., arXiv 1312.5853, the hybrid.
"""

from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from parle_ray.flat import FlatModule
from parle_ray.generators import reseeded
from parle_ray.team.among import Among
from parle_ray.team.base import Backward, Group, cut, draw_seed, no_loss, turns
from parle_ray.team.line import Line
from parle_ray.team.sharded import Sharing
from parle_ray.team.stages import Stage, stages
from parle_ray.team.stand_ins import End, entry
from parle_ray.team.sums import Sums


class Work(Protocol):
    """What a process of a pipeline computes; a `Learner` does."""

    def loss(self, batch: Any, module: Any) -> Tensor:
        """The user's loss of a batch, with its graph, where `module` stands for the module."""

    def forward(self, x: Tensor) -> Tensor:
        """What the layers that are here make of their input."""


class Pipeline(Sharing):
    """One of several processes with consecutive layers each.

    Args:
        num_microbatches: into which every mini-batch is cut.
        num_pipelines: among which these are divided. The processes of the first come first.
    """

    on_host = True

    def __init__(
        self, group: Group, work: Work, num_microbatches: int, num_pipelines: int = 1
    ) -> None:
        super().__init__(group)
        length = group.size // num_pipelines
        pipeline, self._stage = divmod(group.index, length)
        self._row = Among(group, range(pipeline * length, (pipeline + 1) * length))
        self._column = Among(group, range(self._stage, group.size, length))
        self._sums = Sums(self._column)
        self._work, self._num_microbatches = work, num_microbatches
        self._turns = turns(pipeline, num_pipelines, num_microbatches)
        self._is_last = self._stage == length - 1

    def divide(self, flat: FlatModule, device: torch.device) -> FlatModule:
        """Leave this process's layers of the module, which is in host memory.

        Raises:
            InputError: the module cannot be cut so.
        """
        layers, self.shares = stages(flat, self._row.size)
        self._line = Line(self._row, device)
        return Stage(flat, layers[self._stage], self.share, device)

    def gradient(self, gradient: Tensor, batch: Any, backward: Backward) -> Tensor:
        with self._line.open():
            loss = self._walk(gradient, batch)
        if self._column.size > 1:
            self._add(gradient)
        return loss

    def _walk(self, gradient: Tensor, batch: Any) -> Tensor:
        """All micro-batches forward, then all backward; the gradient of each is weighted."""
        seed, cuda = draw_seed(), gradient.device.type == "cuda"
        total, loss = torch.zeros_like(gradient), no_loss(gradient)
        walks = []
        for i in self._turns:
            part, share = cut(batch, i, self._num_microbatches)
            if share:
                with reseeded(seed, i, cuda=cuda):
                    walks.append((share, *self._forward(part)))
        for share, x, y in walks:
            self._backward(x, y)
            total.add_(gradient.mul_(share))
            gradient.zero_()
            if self._is_last:
                loss += share * y.detach()
        gradient.copy_(total)
        return loss

    def _forward(self, part: Any) -> tuple[Tensor, Tensor]:
        """A micro-batch through the layers: what came in, and what went out or its loss."""
        if self._is_last:
            end = End(self._line.take, self._work.forward)
            loss = self._work.loss(part, end)
            return end.taken, loss
        x = self._line.take() if self._stage else entry(partial(self._work.loss, part))
        y = self._work.forward(x)
        self._line.give(y)
        return x, y

    def _backward(self, x: Tensor, y: Tensor) -> None:
        y.backward(None if self._is_last else self._line.take_gradient(y))  # type: ignore[no-untyped-call]
        if self._stage:
            self._line.give_gradient(x)
