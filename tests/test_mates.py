"""Replicas of two processes on the stand-in for Ray: the bits of one, and they die as one."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from parle_ray.cluster.mates import MateActor
from parle_ray.errors import InputError, UserCodeError
from parle_ray.execution import Execution
from parle_ray.strategies import (
    Asynchronous,
    AutoSplash,
    DiLoCo,
    HierarchicalParle,
    Parle,
    Strategy,
    StreamingDiLoCo,
)
from tests.fake_ray import FakeRay, me
from tests.problems import Batch, batches, run, sgd, squares
from tests.team import Meeting, ThreadGroup
from tests.test_kill_points import NUM_ROUNDS, fit, hired_again, one_process  # noqa: F401

TWO = Execution(num_processes=2)


@pytest.fixture(autouse=True)
def threads(one_process: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    mates = "parle_ray.cluster.mates"
    monkeypatch.setattr(f"{mates}.TorchGroup", ThreadGroup)
    monkeypatch.setattr(f"{mates}.open_store", Meeting)
    monkeypatch.setattr(f"{mates}.find_store", lambda port, size: Meeting.opened[port])
    monkeypatch.setattr("parle_ray.cluster.crew.bury", lambda node, pids, kills: "")


class Layers(nn.Sequential):
    """Two with parameters, from a start that draws no random numbers."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.linspace(-1.0, 1.0, p.numel()).view(p.shape))


@pytest.mark.parametrize("how", [{}, {"shard_state": True}, {"num_microbatches": 3}])
@pytest.mark.parametrize(
    ("strategy", "compression"),
    [
        (Parle(sync_every=2), "none"),
        (DiLoCo(sync_every=2), "none"),
        (AutoSplash(sync_every=2), "none"),
        (Parle(sync_every=2), "int8"),
        (HierarchicalParle(sync_every=2), "none"),
        (HierarchicalParle(sync_every=2), "int8"),
        (StreamingDiLoCo(sync_every=2, fragments=3), "none"),
        (StreamingDiLoCo(sync_every=2, fragments=3), "int8"),
    ],
    ids=[
        "overlapping",
        "blocking",
        "numbers",
        "compressed",
        "apart",
        "apart, compressed",
        "in stretches",
        "in stretches, compressed",
    ],
)
def test_a_run_of_two_processes_a_replica_has_the_bits_of_simulate(
    monkeypatch: pytest.MonkeyPatch, strategy: Strategy, compression: str, how: dict[str, Any]
) -> None:
    shares = strategy.coordinate_wise and not strategy.walks_apart
    execution = replace(TWO, **how) if shares else TWO
    options: dict[str, Any] = {"execution": execution, "compression": compression}
    options["model_fn"] = Layers
    inner = sgd(momentum=0.9)
    outcome = run(strategy, num_rounds=NUM_ROUNDS, inner_optimizer_fn=inner, **options)
    rounds, losses, master, office = fit(monkeypatch, strategy, None, **options)
    assert rounds == [1, 2]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)
    assert sum(isinstance(actor.instance, MateActor) for actor in office.hired) == 2


@pytest.mark.parametrize("shard_state", [False, True], ids=["whole", "sharded"])
def test_an_asynchronous_run_of_two_processes_a_replica_has_the_rounds_of_one(
    monkeypatch: pytest.MonkeyPatch, shard_state: bool
) -> None:
    order: list[int] = []
    options: dict[str, Any] = {
        "execution": replace(TWO, shard_state=shard_state),
        "num_rounds": 4,
        "inner_optimizer_fn": sgd(momentum=0.9),
        "lr_scheduler_fn": lambda inner: LambdaLR(inner, lambda round: 1.0 / (1 + round)),
    }
    rounds, losses, master, _ = fit(monkeypatch, Asynchronous(), None, arrivals=order, **options)
    outcome = run(Asynchronous(), arrivals=order, **options)
    assert rounds == [1, 2, 3, 4]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)


@pytest.mark.parametrize(
    ("gpus", "device", "said"),
    [
        (["0"], None, "execution.num_processes: 2 processes need a GPU each, and a replica has 1"),
        (["0", "1"], "cuda:1", "execution.device: 'cuda:1' is one GPU"),
    ],
)
def test_too_few_gpus_are_told_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str], device: str | None, said: str
) -> None:
    monkeypatch.setattr(FakeRay, "get_gpu_ids", lambda: gpus)
    with pytest.raises(InputError, match=said):
        fit(monkeypatch, Parle(), None, execution=Execution(num_processes=2, device=device))


def second_part(batch: Batch, rank: int) -> bool:
    """Of the first mini-batch of a rank, cut in two."""
    return torch.equal(batch[1], batches(rank, 2)[0][1][2:])


def test_a_mistake_in_another_process_is_told_as_the_users_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loss_fn(module: nn.Module, batch: Batch) -> Tensor:
        if second_part(batch, rank=1):
            raise KeyError("no such example")
        return squares(module, batch)

    with pytest.raises(UserCodeError, match=r"(?s)replica 1, process 1, round 0: KeyErr.*in loss"):
        fit(monkeypatch, Parle(sync_every=2), None, execution=TWO, loss_fn=loss_fn)


def test_a_process_that_dies_takes_its_replica_with_it_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
    hired_again: list[tuple[int, int]],  # noqa: F811
) -> None:
    deaths, said = [], []

    def loss_fn(module: nn.Module, batch: Batch) -> Tensor:
        if second_part(batch, rank=1) and not deaths:
            deaths.append(1)
            me().dead = True
        return squares(module, batch)

    rounds, _, master, _ = fit(
        monkeypatch,
        Parle(sync_every=2),
        None,
        execution=TWO,
        loss_fn=loss_fn,
        max_failures=-1,
        say=said.append,
    )
    assert rounds == [1, 2]
    assert torch.isfinite(master["vector"]).all()
    lost = [line for line in said if "was lost" in line]
    assert lost == [
        "replica 1 was lost, its process died (process 2 of its 2); a new one will start from the "
        "master"
    ]
    assert hired_again == [(1, 1)]
