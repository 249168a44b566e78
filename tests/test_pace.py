"""Rounds of unequal length: where they begin, and that everybody who counts mini-batches agrees."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parle_ray import ReplicaOptimizer
from parle_ray.console.config import Config
from parle_ray.console.recipe import make_recipe
from parle_ray.errors import InputError
from parle_ray.pace import Pace, paced, rounds_in
from parle_ray.schedules import QSR, Constant, Cosine, Geometric, Plan, Schedule, Steps
from parle_ray.strategies import (
    SGD,
    Asynchronous,
    HierarchicalParle,
    LocalSGD,
    ParameterMixing,
    Parle,
    Strategy,
)
from tests.problems import Pieces, batches, run, squares
from tests.test_plan import BY_HAND

POST_LOCAL = Steps((1, 3), (0.5,))
GROWING = [POST_LOCAL, Geometric(1, 9), Cosine(2, 7), Steps((1, 2, 4, 8), (0.2, 0.5, 0.8))]
paces = st.sampled_from([*GROWING, QSR(2, alpha=0.2, lr=Cosine(0.1)), Constant(4)])


@given(schedule=paces, num_rounds=st.integers(1, 60))
def test_a_run_of_so_many_rounds_has_them_and_one_mini_batch_more_would_be_another(
    schedule: Schedule, num_rounds: int
) -> None:
    pace = paced(schedule, num_rounds)
    assert isinstance(pace, Pace)
    assert pace.num_rounds == num_rounds == rounds_in(schedule, pace.num_steps)
    assert rounds_in(schedule, pace.num_steps + 1) > num_rounds
    edges = [pace.before(round) for round in range(num_rounds + 3)]
    assert edges[0] == 0
    assert edges[num_rounds] == pace.num_steps
    assert [pace(round) for round in range(num_rounds + 2)] == [
        after - before for before, after in itertools.pairwise(edges)
    ]
    assert all(after > before for before, after in itertools.pairwise(edges))
    for step in range(edges[-1]):
        round = pace.round_at(step)
        assert edges[round] <= step < edges[round + 1]


def test_lengths_follow_the_mini_batches_walked() -> None:
    pace = paced(POST_LOCAL, 8)
    assert [pace(round) for round in range(8)] == [1, 1, 1, 1, 1, 1, 3, 3]
    assert pace(20) == 3


def test_the_quadratic_rule_follows_the_rate_and_the_last_round_ends_the_run() -> None:
    rule = QSR(4, alpha=0.4, lr=Cosine(0.1))
    pace = paced(rule, 12)
    assert isinstance(pace, Pace)
    bound = rule.bind(Plan(num_rounds=pace.num_steps))
    lengths = [pace(round) for round in range(12)]
    assert lengths[:-1] == [bound(int(pace.before(round))) for round in range(11)]
    assert lengths[0] == 16
    assert lengths == sorted(lengths[:-1]) + lengths[-1:]


def test_a_run_without_an_end_keeps_its_first_length() -> None:
    assert LocalSGD(sync_every=Geometric(3, 9)).bind(Plan(num_rounds=None)).sync_every == 3


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: LocalSGD(sync_every=Cosine(4)), "sync_every must be >= 1"),
        (lambda: LocalSGD(sync_every=0.5), "whole number or a schedule"),
        (lambda: HierarchicalParle(sync_every=POST_LOCAL), "whole number with HierarchicalParle"),
        (lambda: Asynchronous(sync_every=POST_LOCAL), "whole number with Asynchronous"),
        (lambda: replace(BY_HAND, strategy=LocalSGD(sync_every=POST_LOCAL)), "one length"),
        (lambda: QSR(4, alpha=0.0, lr=0.1), "QSR: alpha and lr must be > 0"),
        (lambda: QSR(4, alpha=0.1, lr=Cosine(0.1, -0.1)), "QSR: alpha and lr must be > 0"),
        (lambda: QSR(math.nan, alpha=0.1, lr=0.1), "base must be a finite number"),
    ],
)
def test_a_pace_that_cannot_be_is_refused(wrong, named) -> None:
    with pytest.raises(InputError, match=named):
        wrong()


@pytest.mark.parametrize("kind", [LocalSGD, Parle, ParameterMixing])
def test_until_its_rounds_grow_a_run_is_that_of_short_rounds(kind: type[Strategy]) -> None:
    growing = run(kind(sync_every=POST_LOCAL), num_rounds=8)
    assert [report["step"] for report in growing.history] == [1, 2, 3, 4, 5, 6, 9, 12]
    if kind is LocalSGD:
        short = run(LocalSGD(sync_every=1), num_rounds=6)
        assert growing.history[5] == short.history[5]


def test_a_batch_that_doubles_is_twice_the_mini_batches_at_once() -> None:
    doubling = run(SGD(sync_every=Steps((1, 2), (0.5,))), num_rounds=4, num_replicas=1)
    assert [report["step"] for report in doubling.history] == [1, 2, 3, 5]
    first, second, third = batches(0, 1)
    pair = tuple(torch.cat(parts) for parts in zip(first, second, strict=True))
    drawn = [first, second, third, pair]
    by_hand = run(SGD(), num_rounds=4, num_replicas=1, batches_fn=lambda rank, n: drawn)
    assert torch.allclose(doubling.master, by_hand.master, atol=1e-12)


@pytest.mark.parametrize("schedule", GROWING, ids=repr)
def test_a_loop_of_ones_own_exchanges_where_the_simulated_run_does(schedule: Schedule) -> None:
    module, strategy = Pieces(), Parle(sync_every=schedule)
    inner = torch.optim.SGD(module.parameters(), lr=0.1)
    optimizer = ReplicaOptimizer(module, inner, strategy, num_rounds=7)
    theirs = run(strategy, num_replicas=1, num_rounds=7)
    for step in range(theirs.history[-1]["step"]):
        optimizer.zero_grad()
        squares(module, batches(0, 1)[step % 3]).backward()
        optimizer.step()
    assert optimizer.round == 7
    optimizer.swap_master()
    assert torch.equal(
        torch.cat([p.detach().reshape(-1) for p in module.parameters()]), theirs.master
    )


def test_epochs_are_counted_in_rounds_that_grow() -> None:
    outcome = run(LocalSGD(sync_every=POST_LOCAL), num_rounds=None, num_epochs=4)
    assert [report["step"] for report in outcome.history] == [1, 2, 3, 4, 5, 6, 9, 12]


def test_the_rate_falls_with_mini_batches_and_not_with_rounds() -> None:
    config = Config(num_rounds=8, num_replicas=1, strategy=LocalSGD(sync_every=POST_LOCAL))
    recipe = make_recipe(config)
    assert recipe.planned_steps == 12
    scheduler = recipe.task.lr_scheduler_fn
    assert scheduler is not None
    rates = [scheduler.factor(round) for round in range(8)]
    walked = [0, 1, 2, 3, 4, 5, 6, 9]
    assert rates == pytest.approx([(1 + math.cos(math.pi * step / 12)) / 2 for step in walked])
