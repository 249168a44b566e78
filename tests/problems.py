"""Small problems with known gradients and optima, for the tests of the pure core.

The model of all of them is `Pieces`: one vector w in R^6, held as three tensors of different
shapes, so that whatever depends on the number of parameter tensors shows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from parle_ray.asynchronous import AsynchronousMaster, make_master
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.membership.patience import Patience
from parle_ray.simulate import Outcome, simulate
from parle_ray.strategies import Strategy
from parle_ray.task import Task

PATIENT = Patience(purse_s=60.0, full_s=60.0)
"""A busy machine must not decide who is in time."""

NUM_PARAMS = 6
START = np.linspace(-1.0, 1.5, NUM_PARAMS)
Batch = tuple[Tensor, Tensor]
"""Rows A `(m, 6)` and targets b `(m,)`."""


class Pieces(nn.Module):
    """w in R^6, float64, as tensors of shapes (2, 2), (1,) and ()."""

    def __init__(self) -> None:
        super().__init__()
        start = torch.from_numpy(START)
        self.matrix = nn.Parameter(start[:4].reshape(2, 2).clone())
        self.row = nn.Parameter(start[4:5].clone())
        self.scalar = nn.Parameter(start[5].clone())

    def forward(self, a: Tensor) -> Tensor:
        w = torch.cat([self.matrix.reshape(-1), self.row, self.scalar.reshape(1)])
        return a @ w


def squares(module: nn.Module, batch: Batch) -> Tensor:
    """Least squares: `mean_i (a_i w - b_i)^2 / 2`."""
    a, b = batch
    return (module(a) - b).square().mean() / 2.0


def logistic(module: nn.Module, batch: Batch) -> Tensor:
    """Logistic regression: `mean_i log(1 + exp(-b_i a_i w))`, targets of either sign."""
    a, b = batch
    return softplus(-b * module(a)).mean()


def flat_loss(module: nn.Module, batch: Batch) -> Tensor:
    """f = 0, with a gradient of zeros."""
    return 0.0 * squares(module, batch)


def batches(rank: int, num_replicas: int) -> list[Batch]:
    """Three mini-batches of four rows; every rank has its own."""
    rng = np.random.default_rng(100 + rank)
    return [
        (torch.from_numpy(rng.normal(size=(4, NUM_PARAMS))), torch.from_numpy(rng.normal(size=4)))
        for _ in range(3)
    ]


def same_batches(rank: int, num_replicas: int) -> list[Batch]:
    """The mini-batches of rank 0, for everybody."""
    return batches(0, num_replicas)


def gradient_of(
    loss_fn: Callable[..., Tensor], batches_fn: Callable[[int, int], list[Batch]] = batches
) -> Callable[[int, int, np.ndarray], np.ndarray]:
    """The gradient of a loss above, by hand, for `tests/reference.py`."""

    def gradient(a: int, t: int, w: np.ndarray) -> np.ndarray:
        mine = batches_fn(a, 0)
        rows, b = (tensor.numpy() for tensor in mine[t % len(mine)])
        if loss_fn is squares:
            return rows.T @ (rows @ w - b) / len(b)
        return rows.T @ (-b / (1.0 + np.exp(b * (rows @ w)))) / len(b)

    return gradient


def sgd(lr: float = 0.1, **options: Any) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
    """An `inner_optimizer_fn`."""
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, **options)


def task(strategy: Strategy, **changes: Any) -> Task:
    """A task on `Pieces`, two replicas and three rounds unless told."""
    arguments: dict[str, Any] = {
        "model_fn": Pieces,
        "loss_fn": squares,
        "batches_fn": batches,
        "inner_optimizer_fn": sgd(),
        "num_replicas": 2,
        "num_rounds": 3,
        "patience": PATIENT,
    }
    return Task(strategy=strategy, **(arguments | changes))


def run(strategy: Strategy, **changes: Any) -> Outcome:
    """`simulate` on `Pieces`, two replicas and three rounds unless told."""
    arguments: dict[str, Any] = {
        "loss_fn": squares,
        "batches_fn": batches,
        "inner_optimizer_fn": sgd(),
        "num_replicas": 2,
        "num_rounds": 3,
    }
    arguments |= changes
    return simulate(
        arguments.pop("model_fn", Pieces),
        arguments.pop("loss_fn"),
        arguments.pop("batches_fn"),
        strategy=strategy,
        **arguments,
    )


def crew(fitted: Task) -> tuple[Master, list[Learner]]:
    """A master and its replicas before the first round, to be driven by hand."""
    learners = [Learner(fitted, rank) for rank in range(fitted.num_replicas)]
    for learner in learners:
        learner.start(fitted, round=0)
    return make_master(fitted, range(fitted.num_replicas)), learners


def play_round(master: Master, learners: list[Learner]) -> None:
    """One round of everybody, as `simulate` does it; of an asynchronous strategy one by one."""
    if isinstance(master, AsynchronousMaster):
        play_in_turn(master, learners)
        return
    round = master.round
    replies = {rank: master.reply(rank) for rank in master.ranks}
    for learner in learners:
        answer = learner.play(round, partial(replies.__getitem__, learner.rank))
        weight, numbers = answer.weight, answer.numbers
        master.take(learner.rank, round, answer.push, weight=weight, numbers=numbers)
    master.close()


def play_in_turn(master: AsynchronousMaster, learners: list[Learner]) -> None:
    """A round in which each replica sets out when the one before it has arrived."""
    for learner in learners:
        version = master.ask(learner.rank)
        reply = partial(master.reply, learner.rank)
        answer = learner.play(learner.task.round_of(version), reply)
        master.take(learner.rank, version, answer.push, numbers=answer.numbers)
    master.close()
