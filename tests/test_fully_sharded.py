"""Processes that share the parameters of a replica: each has a shard, together they are one."""

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
from parle_ray.models.byte_lm import ByteLM
from parle_ray.models.lenet import LeNet
from parle_ray.models.wide_resnet import WideResNet
from parle_ray.strategies import STRATEGIES
from parle_ray.task import Task
from parle_ray.team.fully_sharded import FullySharded, units
from parle_ray.team.group import TorchGroup
from tests.nets import LENET, SGD, WIDTH, after_a_round, begin, few, rounds, two_rounds, wide
from tests.problems import task
from tests.processes import Processes
from tests.test_sharded import SHARED

pytestmark = pytest.mark.timeout(240)  # the processes import all that is needed first
OFTEN, NIGHTLY = ("parle", "sgd", "diloco", "asynchronous_easgd"), pytest.mark.nightly
SHARDS = Execution(num_processes=2, shard_parameters=True)


class Net(nn.Module):
    """All that is hard: odd numbers of rows, a single row, dropout, batch norm, a frozen layer, and
    a parameter that is used twice, inside of an element and out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.layers = nn.Sequential(
            nn.Linear(3, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 3)
        )
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.last = nn.Linear(3, 3, bias=False)
        self.last.weight.requires_grad_(False).copy_(torch.eye(3)).requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.last(self.layers(self.frozen(x)))
        return (h * self.scale + self.last.weight.sum()).mean(1)


def loss_fn(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (module(batch[0]) - batch[1]).square().mean()


def batches_fn(rank: int, num_replicas: int, rows: int = 7) -> list[tuple[Tensor, Tensor]]:
    """Mini-batches that cannot be cut into equal parts."""
    random = torch.Generator().manual_seed(7)
    return [
        (torch.randn(rows, 3, generator=random), torch.randn(rows, generator=random))
        for _ in range(3)
    ]


def given(name: str = "parle", **changes: Any) -> Task:
    arguments: dict[str, Any] = {
        "model_fn": Net,
        "loss_fn": loss_fn,
        "batches_fn": batches_fn,
        "num_replicas": 1,
        "num_rounds": 4,
        "inner_optimizer_fn": partial(torch.optim.Adam, lr=0.1, weight_decay=0.1),
        "execution": SHARDS,
    }
    return task(STRATEGIES[name](sync_every=2), **(arguments | changes)).fitted_to(3)


def start(group: TorchGroup | None, ours: Task, first: int = 0, state: Any = None) -> Learner:
    """One process of a replica, or all of it."""
    learner = Learner(ours, 0, joins=group is not None)
    if group is not None:
        learner.join(FullySharded(group))
    return begin(learner, ours, first, state)


def walk(
    group: TorchGroup | None, name: str, size: int, first: int = 0, state: Any = None
) -> tuple[list[Any], list[float], Any, Any]:
    """Two rounds: what the replica pushes, its losses, and what this process has of its state."""
    ours = given(name, execution=replace(SHARDS, num_processes=size))
    learner = start(group, ours, first, state)
    pushes, losses, packed = two_rounds(learner, first)
    shares = learner.team.shares if group is not None else None
    return [push.numpy() for push in pushes], losses, packed, shares


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=NIGHTLY) for name in SHARED]
)
def test_every_strategy_has_the_bits_of_one_process_that_takes_all_parts(
    processes: Processes, name: str
) -> None:
    """Its checkpoints too: a run goes on with any number of processes."""
    are_one(processes, name, 2)


@NIGHTLY
def test_three_processes_have_the_bits_of_one() -> None:
    """Where a sum has three terms its order matters."""
    processes = Processes(3)
    are_one(processes, "parle", 3)
    processes.end()


def are_one(processes: Processes, name: str, size: int) -> None:
    pushes, losses, whole, _ = walk(None, name, size)
    told = processes(walk, name, size)
    assert all((a == b).all() for a, b in zip(told[0][0], pushes, strict=True))
    assert [it[1] for it in told] == [losses] * size
    joined = join_states([state for *_, state, _ in told], told[0][3])
    for part in ("vector", "strategy", "inner"):
        mine, theirs = (unpack_tree(state[part]) for state in (joined, whole))
        torch.testing.assert_close(mine, theirs, rtol=0.0, atol=0.0)
    on, *_ = walk(None, name, size, 2, joined)
    resumed, *_ = processes(walk, name, size, 2, joined)[0]
    assert all((a == b).all() for a, b in zip(resumed, on, strict=True))


def gradients(group: TorchGroup | None, ours: Task) -> tuple[Any, float]:
    """Gradient and loss of a replica's first mini-batch; of a process its share."""
    learner = start(group, ours)
    loss, _ = learner._gradient()
    gradient = learner._flat.gradient
    if group is not None:
        gradient = learner.team.whole(gradient)
    return gradient.numpy(), learner.team.losses(loss.reshape(1)).item()


def one_example(rank: int, num_replicas: int) -> Any:
    return batches_fn(rank, num_replicas, rows=1)


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0))


def test_a_part_without_examples_counts_nothing(processes: Processes) -> None:
    ours = given(model_fn=linear, batches_fn=one_example)
    expected, loss = gradients(None, ours)
    whole, told = processes(gradients, ours)[0]
    assert (whole == expected).all()
    assert told == loss


@pytest.mark.parametrize(
    "how", [{"autocast": "bfloat16"}, pytest.param({"compile": "eager"}, marks=NIGHTLY)]
)
def test_mixed_precision_and_compilation_go_with_it(
    processes: Processes, how: dict[str, Any]
) -> None:
    ours = given(model_fn=linear, execution=replace(SHARDS, **how))
    expected, loss = gradients(None, ours)
    whole, told = processes(gradients, ours)[0]
    assert (whole == expected).all()
    assert told == loss


def tokens(rank: int, num_replicas: int) -> list[Tensor]:
    return [torch.arange(4 * 9).reshape(4, 9) % 17]


def next_token(module: nn.Module, batch: Tensor) -> Tensor:
    logits = module(batch[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def small_lm() -> nn.Module:
    return ByteLM(17, 8, width=8, depth=2, heads=2)


def test_a_transformer_with_tied_embeddings_is_one_too(processes: Processes) -> None:
    ours = given(model_fn=small_lm, loss_fn=next_token, batches_fn=tokens)
    expected, loss = gradients(None, ours)
    whole, told = processes(gradients, ours)[0]
    assert (whole == expected).all()
    assert told == loss


def elements(group: TorchGroup, ours: Task) -> tuple[int, int]:
    return after_a_round(start(group, ours))


def test_a_process_keeps_its_part_of_everything_and_nothing_whole(processes: Processes) -> None:
    """Vector, copy, gradient, Parle's three and the momentum: of half of the parameters each."""
    ours = given(model_fn=wide, batches_fn=few, inner_optimizer_fn=SGD)
    num_params = sum(p.numel() for p in wide().parameters())
    for kept, longest in processes(elements, ours):
        assert kept / num_params == pytest.approx(7 / 2, rel=0.1)
        assert longest <= num_params / 2 + WIDTH


class Tied(nn.Module):
    """Its last layer has the weights of one inside of its list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])
        self.last = nn.Linear(2, 2)
        self.last.weight = self.layers[1].weight


def names(module: nn.Module) -> list[str]:
    return [next(name for name, it in module.named_modules() if it is u) for u in units(module)]


def test_the_elements_of_lists_are_put_together_one_by_one() -> None:
    assert names(small_lm()) == ["blocks.0", "blocks.1"]
    assert names(LeNet(10, (1, 28, 28))) == [f"layers.{i}" for i in (0, 1, 5, 6, 11, 12, 15)]
    wide = WideResNet(10, (3, 8, 8), depth=10, width=1)
    assert names(wide) == [f"layers.{i}" for i in (0, 1, 2, 3, 4, 8)]
    assert names(nn.Sequential(nn.Sequential(nn.Linear(1, 1)), nn.Linear(1, 1))) == ["0.0", "1"]
    assert names(Tied()) == ["layers.0"]
    assert names(nn.Linear(2, 2)) == []
    again = nn.Linear(2, 2)
    assert names(nn.Sequential(again, nn.ReLU(), again)) == []


def scalar() -> nn.Module:
    module = linear()
    module.temperature = nn.Parameter(torch.ones(()))
    return module


def single() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_fn": scalar}, "execution.shard_parameters: the parameter 'temperature' of Seq"),
        ({"model_fn": single}, "execution.num_processes: 2 processes cannot have a shard each of"),
        (
            {"inner_optimizer_fn": partial(torch.optim.Adafactor, lr=0.1)},
            "execution.shard_parameters: Adafactor looks at whole parameters",
        ),
    ],
    ids=["scalar", "single row", "whole parameters"],
)
def test_what_cannot_be_cut_is_told(
    processes: Processes, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        processes(gradients, given(**{"model_fn": linear, **changes}))


def walk_far(group: TorchGroup, ours: Task) -> list[Any]:
    return rounds(start(group, ours))


@NIGHTLY
def test_a_real_network_has_the_bits_of_one_process(processes: Processes) -> None:
    ours = given(**LENET)
    expected = rounds(start(None, ours))
    told = processes(walk_far, ours)[0]
    assert all((a == b).all() for a, b in zip(told[::2], expected[::2], strict=True))
    assert told[1::2] == expected[1::2]
