"""The mistakes of users are told by name, with the value and the way out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.schedules import Geometric
from parle_ray.strategies import LocalSGD, Parle
from tests.problems import Batch, Pieces, batches, crew, play_round, run, sgd, squares, task


def loss_without_mean(module: nn.Module, batch: Batch) -> Tensor:
    return (module(batch[0]) - batch[1]).square()


def loss_without_gradient(module: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return squares(module, batch)


def loss_as_number(module: nn.Module, batch: Batch) -> Any:
    return squares(module, batch).item()


def loss_that_zeroes(module: nn.Module, batch: Batch) -> Tensor:
    module.zero_grad()
    return squares(module, batch)


def loss_that_casts(module: nn.Module, batch: Batch) -> Tensor:
    module.half()
    return squares(module, (batch[0].half(), batch[1].half()))


def generator_of_batches(rank: int, num_replicas: int) -> Any:
    return (batch for batch in batches(rank, num_replicas))


class Mixed(Pieces):
    """One parameter in another precision."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Parameter(torch.zeros(2, dtype=torch.float32))


SHARED = Pieces()

MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "loss not reduced": (
        {"loss_fn": loss_without_mean},
        ["loss_fn must return a scalar", "shape (4,)", ".mean()"],
    ),
    "loss without gradient": (
        {"loss_fn": loss_without_gradient},
        ["loss_fn must return a scalar", "no_grad"],
    ),
    "loss as a number": ({"loss_fn": loss_as_number}, ["loss_fn must return a scalar tensor"]),
    "an empty shard": (
        {"batches_fn": lambda rank, n: batches(rank, n) if rank == 0 else []},
        ["batches_fn", "replica 1", "are empty", "fewer replicas"],
    ),
    "all shards empty, epochs counted": (
        {"batches_fn": lambda rank, n: [], "num_rounds": None, "num_epochs": 2},
        ["batches_fn", "replica 0", "are empty"],
    ),
    "a generator": (
        {"batches_fn": generator_of_batches},
        ["batches_fn", "replica 0", "only once", "DataLoader or a list"],
    ),
    "no iterable": ({"batches_fn": lambda rank, n: None}, ["batches_fn", "NoneType"]),
    "no parameter": ({"model_fn": nn.Identity}, ["Identity", "no trainable parameter"]),
    "no module": ({"model_fn": lambda: squares}, ["model_fn must return a torch.nn.Module"]),
    "the same module for all": ({"model_fn": lambda: SHARED}, ["'matrix'", "a new module"]),
    "two precisions": ({"model_fn": Mixed}, ["more than one dtype", "float32", "float64"]),
    "gradients set to None": (
        {"loss_fn": loss_that_zeroes},
        ["the gradient of 'matrix'", "zero_grad(set_to_none=False)"],
    ),
    "cast while it trains": ({"loss_fn": loss_that_casts}, ["the parameter 'matrix'", ".half()"]),
    "no learning rate": ({"inner_optimizer_fn": sgd(0.0)}, ["lr must be > 0, got 0.0"]),
    "no optimiser": (
        {"inner_optimizer_fn": lambda parameters: None},
        ["inner_optimizer_fn must return a torch.optim.Optimizer", "NoneType"],
    ),
    "an optimiser of another module": (
        {"inner_optimizer_fn": lambda parameters: torch.optim.SGD(Pieces().parameters(), lr=0.1)},
        ["inner_optimizer_fn must optimise the parameters that it is given"],
    ),
    "a scheduler that wants a metric": (
        {"lr_scheduler_fn": torch.optim.lr_scheduler.ReduceLROnPlateau},
        ["lr_scheduler_fn", "ReduceLROnPlateau"],
    ),
    "epochs of no length": (
        {"batches_fn": generator_of_batches, "num_rounds": None, "num_epochs": 2},
        ["num_epochs", "no length", "give num_rounds"],
    ),
    "rounds and epochs": ({"num_epochs": 2}, ["num_rounds or num_epochs", "num_rounds=3"]),
    "no rounds": ({"num_rounds": 0}, ["num_rounds must be >= 1, got 0"]),
    "half a replica": ({"num_replicas": 0.5}, ["num_replicas must be a whole number, got 0.5"]),
    "no replica": ({"num_replicas": 0}, ["num_replicas must be >= 1, got 0"]),
    "a negative seed": ({"seed": -1}, ["seed must be >= 0, got -1"]),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_by_its_name(mistake: tuple[dict[str, Any], list[str]]) -> None:
    changes, said = mistake
    with pytest.raises(InputError) as refusal:
        run(LocalSGD(sync_every=2), **changes)
    assert all(words in str(refusal.value) for words in said), refusal.value


def test_a_strategy_that_was_not_made_is_refused() -> None:
    with pytest.raises(InputError, match=r"write Parle\(\)"):
        task(Parle)  # type: ignore[arg-type]


def test_a_schedule_without_a_length_is_refused_when_it_is_asked() -> None:
    unbound = task(Parle(gamma=Geometric(100.0, 1.0)))
    master, learners = crew(unbound)
    with pytest.raises(InputError, match="depends on the length of the run: give num_rounds"):
        play_round(master, learners)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"autocast": "float16"}, "autocast must be 'bfloat16' or None, got 'float16'"),
        ({"num_threads": 0}, "num_threads must be >= 1, got 0"),
        ({"num_processes": 0}, "num_processes must be >= 1, got 0"),
        (
            {"num_processes": 2, "num_microbatches": 0},
            "num_microbatches must be >= 1 or None, got 0",
        ),
        ({"shard_parameters": True}, "shard_parameters: a replica of one process has nobody"),
        ({"num_microbatches": 4}, "num_microbatches: a replica of one process has nobody"),
        (
            {"num_processes": 2, "shard_state": True, "num_microbatches": 4},
            "shard_state and num_microbatches: give one of them",
        ),
        (
            {"num_processes": 2, "shard_parameters": True, "num_microbatches": 4},
            "shard_parameters and num_microbatches: give one of them",
        ),
        *(
            (options | {"num_pipelines": 2}, r"got 2; with p of them set num_processes \(now ")
            for options in (
                {"num_processes": 4},
                {"num_processes": 2, "num_microbatches": 4},
                {"num_processes": 5, "num_microbatches": 4},
                {"num_processes": 4, "num_microbatches": 1},
            )
        ),
        ({"num_pipelines": 0}, "num_pipelines must be >= 1"),
    ],
)
def test_an_execution_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Execution(**options)
