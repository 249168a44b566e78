"""The master is evaluated with batch-norm statistics of its own, and nobody else notices."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from parle_ray.evaluate import RECALIBRATION_BATCHES, Evaluator
from parle_ray.strategies import Parle
from parle_ray.task import Task
from tests.problems import sgd

Batch = tuple[Tensor, Tensor]


class Normed(nn.Module):
    """Dropout before batch norm: with dropout on, the statistics would be others."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(3, 4)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4, momentum=0.1)
        self.outside = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.outside(self.norm(self.dropout(self.inside(x))))


def batches(rank: int, num_replicas: int) -> list[Batch]:
    random = torch.Generator().manual_seed(rank)
    return [(torch.randn(8, 3, generator=random), torch.zeros(8)) for _ in range(5)]


def loss_fn(module: nn.Module, batch: Batch) -> Tensor:
    return module(batch[0]).square().mean()


def new(**changes: Any) -> Task:
    arguments: dict[str, Any] = {
        "model_fn": Normed,
        "loss_fn": loss_fn,
        "batches_fn": batches,
        "strategy": Parle(),
        "inner_optimizer_fn": sgd(),
        "num_replicas": 2,
        "num_rounds": 2,
    }
    return Task(**(arguments | changes))


def some_master(task: Task) -> Tensor:
    vector = task.build().vector
    return torch.randn(vector.shape, generator=torch.Generator().manual_seed(3))


def test_batch_norm_statistics_are_the_mean_over_training_batches_without_dropout() -> None:
    task = new()
    evaluator = Evaluator(task)
    master = some_master(task)
    for _ in range(2):  # the second time nothing is left of the first, or of another master
        state = evaluator.place(master)
        weight, bias = master[:12].reshape(4, 3), master[12:16]
        hidden = [x @ weight.T + bias for x, _ in batches(0, 2)]
        mean = torch.stack([h.mean(0) for h in hidden]).mean(0)
        variance = torch.stack([h.var(0, unbiased=True) for h in hidden]).mean(0)
        torch.testing.assert_close(state["norm.running_mean"], mean)
        torch.testing.assert_close(state["norm.running_var"], variance)
        evaluator.place(torch.ones_like(master))


def test_instance_norm_statistics_are_estimated_too() -> None:
    def model_fn() -> nn.Module:
        norm = nn.InstanceNorm1d(3, track_running_stats=True, affine=True)
        return nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Upsample(scale_factor=4), norm)

    def spread(module: nn.Module, batch: Batch) -> Tensor:
        return module(batch[0]).square().mean()

    task = new(model_fn=model_fn, loss_fn=spread)
    state = Evaluator(task).place(some_master(task))
    mean = torch.stack([x.mean(0) for x, _ in batches(0, 2)]).mean(0)
    torch.testing.assert_close(state["2.running_mean"], mean)


def test_the_module_is_left_ready_for_use() -> None:
    task = new()
    evaluator = Evaluator(task)
    master = some_master(task)
    evaluator.place(master)
    norm = evaluator.module.norm
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.momentum == 0.1
    assert not any(module.training for module in evaluator.module.modules())
    placed = nn.utils.parameters_to_vector(evaluator.module.parameters())
    assert torch.equal(placed, master)


def test_nobodys_random_numbers_are_used() -> None:
    def shuffled(rank: int, num_replicas: int) -> DataLoader[Any]:
        inputs = torch.cat([x for x, _ in batches(rank, num_replicas)])
        return DataLoader(TensorDataset(inputs, inputs), batch_size=8, shuffle=True)

    def noisy(module: nn.Module) -> dict[str, float]:
        return {"noise": torch.rand(()).item()}

    task = new(batches_fn=shuffled, evaluate_fn=noisy)
    before = torch.get_rng_state()
    master = some_master(task)
    first = Evaluator(task)
    metrics, state = first.evaluate(master), first.module.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second = Evaluator(task)
    assert second.evaluate(master) == metrics
    again = second.module.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_an_endless_set_is_read_for_a_bounded_number_of_batches() -> None:
    drawn: list[int] = []

    class Endless:
        def __iter__(self) -> Iterator[Batch]:
            while True:
                drawn.append(1)
                yield batches(0, 1)[0]

    task = new(batches_fn=lambda rank, num_replicas: Endless())
    Evaluator(task).place(some_master(task))
    assert len(drawn) == RECALIBRATION_BATCHES


def test_without_batch_norm_no_batch_is_read() -> None:
    def unreadable(rank: int, num_replicas: int) -> list[Batch]:
        raise AssertionError("nobody asked for batches")

    task = new(model_fn=lambda: nn.Linear(3, 2), batches_fn=unreadable)
    master = some_master(task)
    assert torch.equal(Evaluator(task).place(master)["weight"].reshape(-1), master[:6])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"accuracy": torch.tensor(0.75)}, {"accuracy": 0.75, "error": 0.25}),
        ({"accuracy": 0.75, "error": 0.3}, {"accuracy": 0.75, "error": 0.3}),
        ({"perplexity": 12}, {"perplexity": 12.0}),
    ],
)
def test_metrics_are_plain_numbers_and_error_completes_accuracy(
    told: dict[str, Any], expected: dict[str, float]
) -> None:
    def evaluate_fn(module: nn.Module) -> dict[str, Any]:
        assert not module.training
        assert not torch.is_grad_enabled()
        return told

    task = new(evaluate_fn=evaluate_fn)
    assert Evaluator(task).evaluate(some_master(task)) == expected


def test_without_an_evaluate_fn_there_are_no_metrics() -> None:
    task = new()
    assert Evaluator(task).evaluate(some_master(task)) == {}
