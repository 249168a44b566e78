"""Replicas that walk as far as they can: the bits of `simulate()` with the steps of the reports."""

from typing import Any

import pytest
import torch

from parle_ray import simulate
from parle_ray.strategies import LocalSGD, Parle, Strategy
from tests.cluster import task
from tests.cluster.test_fit import master_of, nightly
from tests.cluster.test_resume import Unplugged, unplug_at

LONGEST = 8
HOW: dict[str, Any] = {"sync_every": LONGEST, "weighting": "samples", "uneven": True}


def slow_for_one(rank: int, num_replicas: int) -> Any:
    batches = task.arguments()["batches_fn"](rank, num_replicas)
    return task.Slow(batches) if rank == 1 else batches


def steps_of(result: Any) -> list[list[int]]:
    told = result.metrics_dataframe
    return told[["replica/0/steps", "replica/1/steps"]].astype(int).to_numpy().tolist()


@pytest.mark.parametrize("strategy", [LocalSGD(**HOW), pytest.param(Parle(**HOW), marks=nightly)])
def test_a_slow_replica_walks_less_and_is_in_every_round(trainer: Any, strategy: Strategy) -> None:
    result = trainer(strategy, 2, batches_fn=slow_for_one).fit()
    steps, told = steps_of(result), result.metrics_dataframe
    assert steps[0] == [LONGEST, LONGEST]
    assert all(max(walked) == LONGEST for walked in steps)
    assert steps[-1][1] < LONGEST
    assert list(told["merged"]) == [2] * task.NUM_ROUNDS
    assert list(told["late"]) == [0] * task.NUM_ROUNDS
    outcome = simulate(strategy=strategy, num_replicas=2, steps=steps, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)
    whole = outcome.history[-1]
    assert {key: result.metrics[key] for key in whole if key in result.metrics} == {
        key: whole[key] for key in whole if key in result.metrics
    }


def test_a_run_that_goes_on_has_the_steps_of_both_its_parts(trainer: Any) -> None:
    strategy = Parle(**HOW)
    with pytest.raises(Unplugged):
        trainer(strategy, batches_fn=slow_for_one, checkpoint_every=3, on_report=unplug_at(5)).fit()
    result = trainer(strategy, batches_fn=slow_for_one).fit()
    steps = steps_of(result)
    assert len(steps) == task.NUM_ROUNDS
    outcome = simulate(strategy=strategy, num_replicas=2, steps=steps, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)
