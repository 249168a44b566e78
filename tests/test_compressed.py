"""Compressed runs: same machines, fewer bytes, the same place reached."""

import copy
import math
from typing import Any

import pytest
import torch

from parle_ray import simulate
from parle_ray.errors import InputError
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.schedules import Constant
from parle_ray.strategies import (
    PAPA,
    SGD,
    DiLoCo,
    ElasticSGD,
    EntropySGD,
    LocalSGD,
    Parle,
    Rotation,
    Strategy,
    StreamingDiLoCo,
)
from parle_ray.task import Task
from tests.problems import Batch, Pieces, batches, crew, play_round, run, same_batches, sgd, task

STRATEGIES: list[Strategy] = [
    Parle(sync_every=3, gamma=Constant(10.0)),
    Parle(sync_every=3, gamma=Constant(10.0), reference="mean_z"),
    EntropySGD(sync_every=3, gamma=Constant(10.0)),
    ElasticSGD(sync_every=3, rho=Constant(1.0)),
    ElasticSGD(sync_every=3, moving_rate=0.3),
    LocalSGD(sync_every=3),
    DiLoCo(sync_every=3),
    StreamingDiLoCo(sync_every=3, fragments=2),
    PAPA(sync_every=3),
    Rotation(sync_every=3),
    SGD(),
]
each_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)


@pytest.mark.parametrize(
    ("strategy", "codec"),
    [
        (STRATEGIES[0], "int4"),
        (STRATEGIES[0], "int8"),
        (DiLoCo(sync_every=3), "int4"),
        (StreamingDiLoCo(sync_every=3, fragments=2, outer_momentum=0.5), "int4"),
        (Rotation(sync_every=3), "int8"),
        (SGD(), "bf16"),
    ],
    ids=repr,
)
def test_a_compressed_run_ends_where_an_exact_one_does(strategy: Strategy, codec: str) -> None:
    settings: dict[str, Any] = {
        "batches_fn": same_batches,
        "inner_optimizer_fn": sgd(0.05),
        "num_rounds": 60,
    }
    exact = run(strategy, **settings)
    coded = run(strategy, compression=codec, **settings)
    torch.testing.assert_close(coded.master, exact.master, rtol=0.0, atol=5e-3)
    assert coded.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=1e-2)


def resumed(fitted: Task, saved: tuple[Any, list[Any]]) -> tuple[Master, list[Learner]]:
    """A new master and replicas, at the states of a master and its replicas."""
    master, learners = crew(fitted)
    master.load_state_dict(saved[0])
    for learner, state in zip(learners, saved[1], strict=True):
        learner.start(fitted, master.round, master.start)
        learner.load_state_dict(state)
    return master, learners


@each_strategy
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(strategy: Strategy) -> None:
    fitted = task(strategy, num_rounds=9, compression="int8").fitted_to(3)
    master, learners = crew(fitted)
    for _ in range(4):
        play_round(master, learners)
    saved = copy.deepcopy((master.state_dict(), [learner.state_dict() for learner in learners]))
    for _ in range(3):
        play_round(master, learners)
    again, others = resumed(fitted, saved)
    for _ in range(3):
        play_round(again, others)
    assert torch.equal(again.vector, master.vector)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(learners, others, strict=True))


def broken_once(rank: int, num_replicas: int) -> list[Batch]:
    good = batches(rank, num_replicas) * 4
    a, b = good[3]
    return [*good[:3], (a * math.nan, b), *good[4:]] if rank == 1 else good


@each_strategy
def test_a_replica_that_broke_starts_from_what_the_replicas_know(strategy: Strategy) -> None:
    fitted = task(strategy, num_rounds=9, batches_fn=broken_once, compression="int4").fitted_to(12)
    master, learners = crew(fitted)
    for _ in range(5 if strategy.sync_every > 1 else 6):
        play_round(master, learners)
    assert master.faults == 1
    assert torch.isfinite(master.vector).all()
    assert torch.isfinite(learners[1].vector).all()


def test_a_run_may_change_its_codec_when_it_is_resumed() -> None:
    strategy = Parle(sync_every=3, gamma=Constant(10.0))
    fitted = task(strategy, num_rounds=9).fitted_to(3)
    master, learners = crew(fitted)
    play_round(master, learners)
    saved = copy.deepcopy((master.state_dict(), [learner.state_dict() for learner in learners]))
    coded = task(strategy, num_rounds=9, compression="int8").fitted_to(3)
    again, others = resumed(coded, saved)
    for _ in range(3):
        play_round(master, learners)
        play_round(again, others)
    torch.testing.assert_close(again.vector, master.vector, rtol=0.0, atol=1e-2)


def test_auto_is_exact_where_there_is_no_link() -> None:
    runs = [run(LocalSGD(sync_every=3), compression=name).master for name in ("none", "auto")]
    assert torch.equal(*runs)


def test_a_codec_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"compression must be one of .* got 'int9'.*int"):
        simulate(
            Pieces,
            lambda module, batch: module(batch[0]).sum(),
            batches,
            strategy=LocalSGD(),
            inner_optimizer_fn=sgd(),
            num_replicas=2,
            num_rounds=1,
            compression="int9",
        )
