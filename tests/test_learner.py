"""All kinds of modules and batches train, in every way of executing them."""

import pickle
from collections import UserDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parle_ray.execution import Execution, map_tensors, num_samples
from parle_ray.metrics import UNITS
from parle_ray.strategies import SGD, LocalSGD, Parle
from parle_ray.task import Task
from tests.problems import Batch, Pieces, batches, run, sgd, squares

Pair = namedtuple("Pair", ["inputs", "rest"])


def convolutions(dtype: torch.dtype = torch.float32) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 1)).to(dtype)


def images(dtype: torch.dtype = torch.float32) -> Callable[[int, int], list[Batch]]:
    def batches_fn(rank: int, num_replicas: int) -> list[Batch]:
        random = torch.Generator().manual_seed(rank)
        inputs = torch.randn(3, 4, 1, 4, 4, generator=random)
        return [(x.to(dtype), x.sum((2, 3)).to(dtype)) for x in inputs]

    return batches_fn


def regression(module: nn.Module, batch: Batch) -> Tensor:
    return (module(batch[0]) - batch[1]).square().mean()


def losses(execution: Execution | None = None, **changes: Any) -> list[float]:
    arguments: dict[str, Any] = {
        "model_fn": convolutions(),
        "loss_fn": regression,
        "batches_fn": images(),
        "inner_optimizer_fn": sgd(0.02),
        "num_rounds": 4,
    }
    strategy = Parle(sync_every=3, outer_lr=0.3)
    outcome = run(strategy, execution=execution, **(arguments | changes))
    assert torch.isfinite(outcome.master).all()
    return [report["loss"] for report in outcome.history]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_modules_of_other_precisions_train(dtype: torch.dtype) -> None:
    seen = losses(model_fn=convolutions(dtype), batches_fn=images(dtype))
    assert seen[-1] < seen[0]
    assert seen == pytest.approx(losses(), rel=0.1)


def test_an_execution_changes_speed_and_not_the_algorithm() -> None:
    plain = losses()
    assert plain[-1] < plain[0]
    assert losses(Execution(compile="eager")) == plain
    assert losses(Execution(channels_last=True)) == pytest.approx(plain, rel=1e-5)
    autocast = losses(Execution(autocast="bfloat16"))
    assert autocast != plain
    assert autocast == pytest.approx(plain, rel=0.05)


def test_channels_last_reaches_the_loss_function() -> None:
    def watched(module: nn.Module, batch: Batch) -> Tensor:
        assert batch[0].is_contiguous(memory_format=torch.channels_last)
        return regression(module, batch)

    def coloured(rank: int, num_replicas: int) -> list[Batch]:
        return [(x.expand(-1, 2, -1, -1).clone(), y) for x, y in images()(rank, num_replicas)]

    def model_fn() -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 1, 4), nn.Flatten())

    losses(Execution(channels_last=True), loss_fn=watched, batches_fn=coloured, model_fn=model_fn)


class TiedAndFrozen(nn.Module):
    """One matrix used twice, and a scale that does not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(6, 6, bias=False, dtype=torch.float64) for _ in "12")
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.full((), 0.5, dtype=torch.float64), requires_grad=False)

    def forward(self, a: Tensor) -> Tensor:
        return self.scale * self.second(self.first(a).tanh()).sum(1)


def test_tied_and_frozen_parameters_train_as_they_should() -> None:
    outcome = run(Parle(sync_every=3), model_fn=TiedAndFrozen, num_rounds=5)
    assert outcome.master.shape == (36,)
    assert outcome.history[-1]["loss"] < outcome.history[0]["loss"]
    module = outcome.module
    assert isinstance(module, TiedAndFrozen)
    assert module.first.weight is module.second.weight
    assert torch.equal(module.first.weight.detach().reshape(-1), outcome.master)
    assert module.scale.item() == 0.5


def test_a_scheduler_where_the_master_steps_gives_no_warning_and_the_right_rate() -> None:
    halve = torch.optim.lr_scheduler.ExponentialLR
    outcome = run(SGD(), lr_scheduler_fn=lambda inner: halve(inner, 0.5))
    assert [report["lr"] for report in outcome.history] == [0.1, 0.05, 0.025]


def test_epochs_are_counted_in_rounds_of_one_replica() -> None:
    def rounds(num_epochs: int, sync_every: int) -> int:
        outcome = run(LocalSGD(sync_every=sync_every), num_rounds=None, num_epochs=num_epochs)
        return len(outcome.history)

    assert rounds(num_epochs=2, sync_every=3) == 2
    assert rounds(num_epochs=2, sync_every=4) == 2  # 6 steps are begun rounds of 4


def test_a_report_has_the_names_that_are_written_down() -> None:
    for report in run(Parle(sync_every=2)).history:
        rank_losses = {f"replica/{rank}/loss" for rank in range(2)}
        assert set(report) - rank_losses <= set(UNITS)
        assert rank_losses <= set(report)
        assert report["loss"] == pytest.approx(sum(report[name] for name in rank_losses) / 2)
        assert report["step"] == 2 * report["round"]


def test_batches_of_any_nesting_are_mapped_and_counted() -> None:
    x = torch.ones(3, 2)

    def twice(tree: Any) -> Any:
        return map_tensors(lambda tensor: tensor * 2, tree)

    pair = twice(Pair(x, [x, ("name", 4)]))
    assert isinstance(pair, Pair)
    assert torch.equal(pair.rest[0], 2 * x)
    assert pair.rest[1] == ("name", 4)
    for mapping in ({"x": x}, UserDict(x=x), defaultdict(list, x=x)):
        assert torch.equal(twice(mapping)["x"], 2 * x)
    assert isinstance(twice(UserDict(x=x)), UserDict)
    assert num_samples({"weight": torch.tensor(1.0), "x": x}) == 3
    assert num_samples("no tensor") == 1


def test_a_task_of_module_level_functions_can_be_sent_elsewhere() -> None:
    sent = Task(
        model_fn=Pieces,
        loss_fn=squares,
        batches_fn=batches,
        strategy=Parle(),
        inner_optimizer_fn=torch.optim.Adam,
        num_replicas=2,
        num_rounds=3,
    )
    assert pickle.loads(pickle.dumps(sent)) == sent  # noqa: S301
