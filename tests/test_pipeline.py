"""Processes with some layers each: together they are one that takes micro-batch by micro-batch."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parle_ray.cluster.states import join_states
from parle_ray.cluster.wire import unpack_tree
from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.learner import Learner
from parle_ray.strategies import STRATEGIES
from parle_ray.task import Task
from parle_ray.team.base import Group, TeamBroken
from parle_ray.team.pipeline import Pipeline
from tests.nets import LENET, SGD, after_a_round, begin, few, rounds, two_rounds, wide
from tests.problems import task
from tests.processes import Processes
from tests.team import ThreadGroup
from tests.test_sharded import SHARED
from tests.test_team import together

PIPE = Execution(num_processes=2, num_microbatches=4)


class Net(nn.Module):
    """Batch norm, a frozen layer, dropout; its inputs are no floating-point numbers."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Embedding(11, 3),
            nn.Linear(3, 3).requires_grad_(False),
            nn.Linear(3, 7),
            nn.Dropout(dropout),
            nn.BatchNorm1d(7),
            nn.Linear(7, 5),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(5, 1),
            nn.Flatten(0),
        )
        with torch.no_grad():  # threads that draw at once draw from one another's numbers
            self.layers[1].weight.copy_(torch.eye(3))
            self.layers[1].bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def loss_fn(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return (module(batch["x"]) - batch["y"]).square().mean()


def batches_fn(rank: int, num_replicas: int, rows: int = 10) -> list[dict[str, Tensor]]:
    """Mini-batches that cannot be cut into equal parts."""
    random = torch.Generator().manual_seed(7)
    return [
        {"x": torch.arange(rows) % 10, "y": torch.randn(rows, generator=random)} for _ in range(3)
    ]


def given(name: str = "parle", **changes: Any) -> Task:
    arguments: dict[str, Any] = {
        "model_fn": Net,
        "loss_fn": loss_fn,
        "batches_fn": batches_fn,
        "num_replicas": 1,
        "num_rounds": 4,
        "inner_optimizer_fn": partial(torch.optim.Adam, lr=0.1, weight_decay=0.1),
        "execution": PIPE,
    }
    return task(STRATEGIES[name](sync_every=2), **(arguments | changes)).fitted_to(3)


def start(ours: Task, group: Group | None, first: int = 0, state: Any = None) -> Learner:
    """One process of a replica, or all of it."""
    learner = Learner(ours, 0, joins=group is not None)
    if group is not None:
        execution = ours.execution
        assert execution.num_microbatches is not None
        pipes = execution.num_microbatches, execution.num_pipelines
        learner.join(Pipeline(group, learner, *pipes))
    return begin(learner, ours, first, state)


def walk(
    ours: Task, group: Group | None = None, first: int = 0, state: Any = None
) -> tuple[list[Tensor], list[float], Any, Any]:
    """Two rounds: what the replica pushes, its losses, and what this process has of its state."""
    learner = start(ours, group, first, state)
    pushes, losses, packed = two_rounds(learner, first)
    shares = learner.team.shares if group is not None else None
    return pushes, losses, packed, shares


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "size", "num_microbatches"),
    [*((name, 2, 4) for name in SHARED), ("parle", 3, 3), ("parle", 4, 5), ("parle", 2, 1)],
)
def test_every_strategy_has_the_bits_of_one_process(
    name: str, size: int, num_microbatches: int
) -> None:
    """Of ten examples a micro-batch of four gets two or three."""
    execution = Execution(num_processes=size, num_microbatches=num_microbatches)
    ours = given(name, execution=execution)
    check_bits(ours, ("vector", "strategy", "inner", "buffers"))


def check_bits(ours: Task, parts: tuple[str, ...]) -> None:
    """Processes and one come to the same pushes, losses and parts of the state, and go on so."""
    size = ours.execution.num_processes
    pushes, losses, whole, _ = walk(ours)
    told = together(size, partial(walk, ours))
    assert same(told[0][0], pushes)
    assert [it[1] for it in told] == [losses] * size
    shares = told[0][3]
    joined = join_states([state for *_, state, _ in told][: len(shares)], shares)
    for part in parts:
        mine, theirs = (unpack_tree(state[part]) for state in (joined, whole))
        torch.testing.assert_close(mine, theirs, rtol=0.0, atol=0.0)
    on, *_ = walk(ours, None, 2, joined)
    resumed = together(size, partial(walk, ours, first=2, state=joined))
    assert same(resumed[0][0], on)


@pytest.mark.parametrize(
    ("num_pipelines", "length", "num_microbatches"), [(2, 2, 4), (2, 2, 3), (3, 2, 5), (2, 3, 2)]
)
def test_pipelines_beside_each_other_have_the_bits_of_one_process(
    num_pipelines: int, length: int, num_microbatches: int
) -> None:
    """All but the running statistics of batch norm, which are those of the first pipeline."""
    execution = Execution(
        num_processes=num_pipelines * length,
        num_microbatches=num_microbatches,
        num_pipelines=num_pipelines,
    )
    check_bits(given(execution=execution), ("vector", "strategy", "inner"))


def noisy_net() -> nn.Module:
    return Net(dropout=0.5)


def noisy_loss(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Draws before and after it calls the module."""
    x, y = batch["x"], batch["y"]
    moved = torch.where(torch.rand(len(x)) < 0.3, x + 1, x)
    return ((module(moved) - y) * torch.rand(len(x))).square().mean()


def gradients(group: Group | None, ours: Task) -> tuple[Any, float]:
    """Gradient and loss of a replica's first mini-batch; of a process its share."""
    learner = start(ours, group)
    with learner._generators:
        loss, _ = learner._gradient()
    gradient = learner._flat.gradient
    if group is not None:
        gradient = learner.team.whole(gradient)
    return gradient.numpy(), learner.team.losses(loss.reshape(1)).item()


@pytest.mark.timeout(240)  # the processes import all that is needed first
@pytest.mark.parametrize(
    "how",
    [{}, {"autocast": "bfloat16"}, pytest.param({"compile": "eager"}, marks=pytest.mark.nightly)],
)
def test_random_numbers_are_those_of_one_process(processes: Processes, how: dict[str, Any]) -> None:
    """And mixed precision and compilation go with it."""
    execution = replace(PIPE, **how)
    ours = given(model_fn=noisy_net, loss_fn=noisy_loss, execution=execution)
    expected, loss = gradients(None, ours)
    gradient, told = processes(gradients, ours)[0]
    assert (gradient == expected).all()
    assert told == loss


def nothing_to_say(group: Group) -> None:
    """As a process of a later pipeline, when the first process puts a push together."""
    nothing = [torch.empty(0)] * group.size
    group.swap(nothing, nothing)


@pytest.mark.timeout(240)
def test_a_process_may_have_nothing_to_swap(processes: Processes) -> None:
    assert processes(nothing_to_say) == [None, None]


def elements(group: Group, ours: Task) -> tuple[int, int]:
    return after_a_round(start(ours, group))


@pytest.mark.timeout(240)
def test_a_process_keeps_its_layers_and_nothing_whole(processes: Processes) -> None:
    """Vector, gradient, Parle's three and the momentum: of half of the layers each."""
    ours = given(model_fn=wide, loss_fn=squares, batches_fn=few, inner_optimizer_fn=SGD)
    num_params = sum(p.numel() for p in wide().parameters())
    for kept, longest in processes(elements, ours):
        assert kept / num_params == pytest.approx(6 / 2, rel=0.1)
        assert longest == num_params / 2


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))


def pairs(rank: int, num_replicas: int) -> list[tuple[Tensor, Tensor]]:
    return [(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([5.0, 6.0]))]


def squares(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (module(batch[0]) - batch[1]).square().mean()


SMALL: dict[str, Any] = {"model_fn": small, "loss_fn": squares, "batches_fn": pairs}


def test_a_microbatch_without_examples_counts_nothing() -> None:
    ours = given(**SMALL)
    expected, loss = gradients(None, ours)
    (gradient, told), _ = together(2, lambda group: gradients(group, ours))
    assert (gradient == expected).all()
    assert told == loss


def twice(module: nn.Module, batch: Any) -> Tensor:
    return module(batch[0]).mean() + module(batch[0]).mean()


def decay(module: nn.Module, batch: Any) -> Tensor:
    return module(batch[0]).mean() + sum(p.square().sum() for p in module.parameters())


def two_inputs(module: nn.Module, batch: Any) -> Tensor:
    return module(batch[0], mask=batch[1]).mean()


def none_at_all(module: nn.Module, batch: Any) -> Tensor:
    return torch.ones((), requires_grad=True)


class Argmax(nn.Module):
    """What it makes has no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


def discrete() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), Argmax(), nn.Embedding(3, 1), nn.Flatten(0))


@pytest.mark.parametrize(
    ("changes", "by", "said"),
    [
        ({"loss_fn": twice}, {1}, "calls the module more than once"),
        ({"loss_fn": decay}, {0, 1}, "loss_fn asks the module for 'parameters'"),
        ({"loss_fn": two_inputs}, {0, 1}, "with one tensor, .*; got Tensor, Tensor"),
        ({"loss_fn": none_at_all}, {0, 1}, "loss_fn must call the module that it is given"),
        ({"model_fn": discrete}, {0}, "have made a tensor of torch.int64"),
    ],
    ids=["twice", "parameters", "two inputs", "no call", "no gradient"],
)
def test_a_loss_that_needs_more_than_a_pipeline_has_is_told(
    changes: dict[str, Any], by: set[int], said: str
) -> None:
    told: dict[int, str] = {}

    def work(group: ThreadGroup) -> None:
        try:
            gradients(group, given(**(SMALL | changes)))
        except InputError as error:
            told[group.index] = str(error)
            group.leave()
        except TeamBroken:
            pass

    together(2, work)
    assert told
    assert told.keys() <= by
    assert all(re.match(f"execution.num_microbatches: .*{said}", it) for it in told.values())


def walk_far(group: Group, ours: Task) -> list[Any]:
    return rounds(start(ours, group))


@pytest.mark.nightly
@pytest.mark.timeout(240)
def test_a_real_network_has_the_bits_of_one_process(processes: Processes) -> None:
    ours = given(**LENET)
    expected = rounds(start(ours, None))
    told = processes(walk_far, ours)[0]
    assert all((a == b).all() for a, b in zip(told[::2], expected[::2], strict=True))
    assert told[1::2] == expected[1::2]
