"""Branches fold what their replicas pushed: the bits of `simulate(tree=k)`, whatever happens."""

from typing import Any

import ray
import torch

from parle_ray import simulate
from parle_ray.strategies import Parle
from tests.cluster import task
from tests.cluster.test_fit import master_of

STRATEGY = Parle(sync_every=4)
BROKEN = 9
"""The batch of replica 1 that is NaN, so that the push of its third round is."""


def branches() -> list[str]:
    names = ray.util.list_named_actors(all_namespaces=True)
    return sorted(one["name"] for one in names if "branch" in one["name"])


def arguments() -> dict[str, Any]:
    given = task.arguments()
    x, labels = task.data()

    def batches_fn(rank: int, num_replicas: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = list(zip(x.repeat(4, 1).split(32), labels.repeat(4).split(32), strict=True))
        if rank == 1:
            batches[BROKEN] = (batches[BROKEN][0] * float("nan"), batches[BROKEN][1])
        return batches

    return given | {"batches_fn": batches_fn, "evaluate_fn": None}


def test_branches_give_the_bits_of_simulate_also_when_one_is_lost(trainer: Any) -> None:
    seen: list[list[str]] = []

    def lose_a_branch(report: dict[str, Any]) -> None:
        seen.append(branches())
        if report["round"] == 4:
            ray.kill(ray.get_actor("run/branch-0", namespace="parle_ray"))

    result = trainer(STRATEGY, 3, tree=2, on_report=lose_a_branch, **arguments()).fit()
    outcome = simulate(strategy=STRATEGY, num_replicas=3, tree=2, **arguments())
    assert torch.equal(master_of(result), outcome.master)
    whole = outcome.history[-1]
    told = {key: result.metrics[key] for key in whole if key in result.metrics}
    assert told == {key: whole[key] for key in told}
    assert result.metrics["faults"] == 1
    assert seen[0] == ["run/branch-0", "run/branch-1"]
    assert branches() == []
