"""Processes of a replica that walk apart, each on data of its own, and meet after every leg.

Whether they are processes (`Apart`) or learners in one (`Deputies`), they come to the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from parle_ray.equations import fold_
from parle_ray.learner import Answer, Learner, go
from parle_ray.replica import Reply
from parle_ray.task import Task
from parle_ray.team.base import Backward, Together


class Apart(Together):
    """One of them, and the others in the processes of its group."""

    def gradient(self, gradient: Tensor, batch: Any, backward: Backward) -> Tensor:
        return backward(batch)

    def losses(self, losses: Tensor) -> Tensor:
        return losses

    def mean(self, vector: Tensor) -> Tensor:
        """Each process folds a stretch, and all put them together."""
        index, size = self._group.index, self._group.size
        whole = torch.empty_like(vector)
        mine, parts = vector.tensor_split(size), whole.tensor_split(size)
        pieces = [torch.empty_like(mine[index]) for _ in range(size)]
        self._group.swap(mine, pieces)
        pieces[index] = mine[index]
        parts[index].copy_(mean_of(pieces))
        self._sums.share(parts)
        return whole


class Deputies:
    """All of them, one after the other: a replica with the verbs of a `Learner`.

    Args:
        task: its strategy need not be bound yet; see `start`.
        rank: which replica this is.
    """

    def __init__(self, task: Task, rank: int) -> None:
        self.rank = rank
        each = range(task.execution.num_processes)
        self._learners = [Learner(task, rank, index=index) for index in each]

    @property
    def batches_per_pass(self) -> int | None:
        """Mini-batches in one pass over the data of each, if its length is known."""
        return self._learners[0].batches_per_pass

    @property
    def vector(self) -> Tensor:
        """The parameters of the first of them, `(num_params,)`: a view."""
        return self._learners[0].vector

    def start(self, task: Task, round: int) -> None:
        """Get ready for `round`, from the seeded beginning."""
        for learner in self._learners:
            learner.start(task, round)

    def play(self, round: int, receive: Callable[[], Reply], steps: int | None = None) -> Answer:
        """Walk one whole round, leg by leg; all say the same of it."""
        return go([learner.walk(round, receive, steps) for learner in self._learners], mean_of)

    def settle(self, round: int, reply: Reply) -> None:
        """Take in the last reply of a run."""
        for learner in self._learners:
            learner.settle(round, reply)


def mean_of(vectors: Sequence[Tensor]) -> Tensor:
    """Of vectors, in their order: what a `Fold` comes to, but for what is not finite."""
    mean, other = vectors[0].clone(), torch.empty_like(vectors[0])
    for count, vector in enumerate(vectors[1:], start=2):
        fold_(other, mean, vector, 1.0 / count)
        mean, other = other, mean
    return mean


def make_learner(task: Task, rank: int) -> Learner | Deputies:
    """A replica in this process, however many it would have."""
    apart = task.strategy.walks_apart and task.execution.num_processes > 1
    return Deputies(task, rank) if apart else Learner(task, rank)
