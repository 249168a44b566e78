"""A replica of several processes: the mathematics of one, the bits of one that takes all parts."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ray.train import ScalingConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from parle_ray.cluster.placement import replica_resources
from parle_ray.execution import Execution
from parle_ray.replica import Reply
from parle_ray.strategies import STRATEGIES, LocalSGD
from parle_ray.team.base import Alone, NoReply, Team, Together, cut
from tests.problems import run, sgd
from tests.team import Meeting, ThreadGroup


@pytest.mark.parametrize(
    ("asked", "num_processes", "resources"),
    [
        ({"use_gpu": True}, 4, {"GPU": 4, "CPU": 4}),
        ({"use_gpu": True, "resources_per_worker": {"GPU": 8}}, 4, {"GPU": 8, "CPU": 4}),
        ({}, 1, {"CPU": 1}),
        ({}, 16, {"CPU": 8}),
    ],
)
def test_a_replica_asks_for_what_all_of_its_processes_need(
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    num_processes: int,
    resources: dict[str, float],
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 16.0})
    scaling = ScalingConfig(num_workers=2, **asked)
    assert replica_resources(scaling, num_processes) == resources


def in_parts(size: int) -> Execution:
    return Execution(num_processes=size)


TOGETHER = [name for name, kind in STRATEGIES.items() if not kind.walks_apart]


@pytest.mark.parametrize(("name", "size"), [*((name, 3) for name in TOGETHER), ("parle", 5)])
def test_every_strategy_goes_the_way_of_one_process_up_to_rounding(name: str, size: int) -> None:
    """Of four examples a part gets one or two; of five parts one gets none."""
    strategy = STRATEGIES[name](sync_every=2)
    whole = run(strategy, inner_optimizer_fn=sgd(0.05, momentum=0.9))
    parts = run(strategy, inner_optimizer_fn=sgd(0.05, momentum=0.9), execution=in_parts(size))
    torch.testing.assert_close(parts.master, whole.master, rtol=1e-12, atol=1e-14)
    assert parts.history[-1]["loss"] == pytest.approx(whole.history[-1]["loss"], rel=1e-12)


def test_the_parts_of_a_batch_are_all_of_it_and_what_is_no_example_goes_to_each() -> None:
    batch = {"x": torch.arange(10).reshape(5, 2), "y": [torch.arange(5)], "weight": torch.ones(3)}
    parts, shares = zip(*(cut(batch, index, 3) for index in range(3)), strict=True)
    assert torch.equal(torch.cat([part["x"] for part in parts]), batch["x"])
    assert torch.cat([part["y"][0] for part in parts]).tolist() == list(range(5))
    assert [part["weight"].tolist() for part in parts] == [[1.0] * 3] * 3
    assert shares == (0.2, 0.4, 0.4)


def noisy(seen: list[list[int]]) -> dict[str, Any]:
    """A network with dropout on shuffled data; `seen` gets what its loss function is given."""
    x = torch.arange(12.0).reshape(12, 1)

    def loss_fn(module: nn.Module, batch: list[Tensor]) -> Tensor:
        seen.append(batch[0].flatten().int().tolist())
        return module(batch[0] / 12).square().mean()

    def batches_fn(rank: int, num_replicas: int) -> Any:
        return DataLoader(TensorDataset(x), batch_size=4, shuffle=True)

    def model_fn() -> nn.Module:
        return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    return {"model_fn": model_fn, "loss_fn": loss_fn, "batches_fn": batches_fn}


def test_the_data_come_in_one_order_however_many_processes_draw_random_numbers() -> None:
    def order(size: int) -> list[int]:
        seen: list[list[int]] = []
        run(LocalSGD(sync_every=3), num_replicas=1, execution=in_parts(size), **noisy(seen))
        assert {len(part) for part in seen} == {4 // size}
        return [example for part in seen for example in part]

    assert order(1) != sorted(order(1))
    assert order(4) == order(2)
    assert order(2)[:12] == order(1)[:12]  # one process draws its dropout between two passes


def together(size: int, work: Callable[[ThreadGroup], Any]) -> list[Any]:
    """What so many threads, of one group, come to."""
    meeting, said = Meeting(size), list[Any]([None] * size)

    def go(index: int) -> None:
        said[index] = work(ThreadGroup(meeting, index, size, torch.device("cpu")))

    threads = [threading.Thread(target=go, args=(index,)) for index in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@pytest.mark.parametrize(("size", "num_params"), [(2, 1), (2, 7), (3, 2), (3, 1000), (4, 1000)])
def test_processes_come_to_the_bits_of_one_that_takes_all_parts(size: int, num_params: int) -> None:
    """Sums of three numbers of different sizes depend on their order."""
    random = torch.Generator().manual_seed(size)
    rows = torch.randn(7, num_params, generator=random) * torch.logspace(-4, 4, 7)[:, None]

    def gradient(team: Team) -> tuple[Tensor, Tensor]:
        gradient = torch.zeros(num_params)

        def backward(batch: Tensor) -> Tensor:
            gradient.add_(batch.mean(0))
            return batch.square().mean()

        loss = team.gradient(gradient, rows, backward)
        return gradient, team.losses(loss.reshape(1))

    expected, loss = gradient(Alone(size))
    torch.testing.assert_close(expected, rows.mean(0), rtol=1e-4, atol=1e-4)
    for one, its_loss in together(size, lambda group: gradient(Together(group))):
        assert torch.equal(one, expected)
        assert torch.equal(its_loss, loss)


def test_all_hear_what_the_first_is_told_and_when_it_gives_up() -> None:
    replies = [Reply(torch.ones(3)), Reply(torch.zeros(3), restart=True), None]

    def talk(team: Together) -> list[Reply | None]:
        heard: list[Reply | None] = []
        for reply in replies:
            if team.leads:
                team.tell(reply)
            else:
                try:
                    heard.append(team.hear(torch.empty(3)))
                except NoReply:
                    heard.append(None)
        return heard

    for heard in together(3, lambda group: talk(Together(group)))[1:]:
        assert [one and one.restart for one in heard] == [False, True, None]
        assert heard[0] is not None
        assert torch.equal(heard[0].vector, torch.ones(3))
