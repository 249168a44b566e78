"""A lost actor is a loss, by whichever name Ray has for it."""

from typing import Any

import pytest
import torch
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)
from torch import Tensor, nn

from parle_ray.cluster.coordinator import Coordinator
from parle_ray.cluster.evaluations import Evaluations
from parle_ray.strategies import Parle
from tests.fake_ray import me
from tests.problems import Batch, batches, squares
from tests.test_kill_points import fit, hired_again, one_process  # noqa: F401

NO_MEMORY = "Ray ended it as its node was running out of memory"
DEATHS = [
    ("its process died", ActorDiedError()),
    ("its process died", WorkerCrashedError()),
    (NO_MEMORY, OutOfMemoryError("running low on memory")),
    ("its node died", NodeDiedError("its node has died")),
]


@pytest.mark.parametrize(("why", "death"), DEATHS, ids=[type(d).__name__ for _, d in DEATHS])
@pytest.mark.parametrize("tree", [None, 2])
def test_a_replica_that_is_lost_is_replaced_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
    hired_again: list[tuple[int, int]],  # noqa: F811
    why: str,
    death: RayError,
    tree: int | None,
) -> None:
    monkeypatch.setattr("tests.fake_ray.ActorDiedError", lambda: death)
    monkeypatch.setattr("parle_ray.cluster.crew.bury", lambda node, pids, kills: "")
    dead: list[int] = []
    said: list[str] = []

    def loss_fn(module: nn.Module, batch: Batch) -> Tensor:
        if torch.equal(batch[1], batches(1, 2)[0][1]) and not dead:
            dead.append(1)
            me().dead = True
            me().go_on()  # or it would wait for a reply that has not come yet, and nobody know
        return squares(module, batch)

    rounds, *_ = fit(
        monkeypatch,
        Parle(sync_every=2),
        None,
        loss_fn=loss_fn,
        tree=tree,
        max_failures=-1,
        say=said.append,
    )
    assert rounds == [1, 2]
    assert [line for line in said if "was lost" in line] == [
        f"replica 1 was lost, {why}; a new one will start from the master"
    ]
    assert hired_again == [(1, 1)]


def test_a_coordinator_that_is_asked_before_its_first_round_says_how_long_nothing_came_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Coordinator] = []
    told: list[float] = []
    make = Coordinator.__init__

    def noted(self: Coordinator, *args: Any, **options: Any) -> None:
        made.append(self)
        make(self, *args, **options)

    class Asked(Evaluations):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            told.append(made[0].ping())

    monkeypatch.setattr(Coordinator, "__init__", noted)
    monkeypatch.setattr("parle_ray.cluster.coordinator.Evaluations", Asked)
    rounds, *_ = fit(monkeypatch, Parle(sync_every=2), None)
    assert rounds == [1, 2]
    assert len(told) == 1
    assert told[0] >= 0.0
