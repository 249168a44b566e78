"""The coordinator's half closes rounds, refuses what is not finite, and loses nothing."""

import copy
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parle_ray.errors import Diverged, InputError
from parle_ray.master import Master
from parle_ray.membership.roll import Roll
from parle_ray.strategies import SGD, DiLoCo, ElasticSGD, LocalSGD, Parle, Strategy
from tests.problems import START, Batch, batches, crew, play_round, sgd, task

X = torch.from_numpy(START).clone()
NAN = torch.full_like(X, math.nan)


def new(strategy: Strategy, num_replicas: int = 3, **changes: object) -> Master:
    fitted = task(strategy, num_replicas=num_replicas, num_rounds=9, **changes).fitted_to(3)
    return Master(fitted, range(num_replicas))


def enter(master: Master, *pushes: Tensor | None) -> list[bool]:
    return [master.take(rank, master.round, push) for rank, push in enumerate(pushes)]


def broken_once(rank: int, num_replicas: int) -> list[Batch]:
    """Twelve mini-batches; the fourth of rank 1 is NaN."""
    good = batches(rank, num_replicas) * 4
    a, b = good[3]
    return [*good[:3], (a * math.nan, b), *good[4:]] if rank == 1 else good


def test_it_starts_where_the_replicas_start() -> None:
    master, learners = crew(task(Parle()).fitted_to(3))
    assert all(torch.equal(master.vector, learner.vector) for learner in learners)
    assert (master.round, master.faults, master.waiting) == (0, 0, [0, 1])


def test_a_round_waits_for_everybody_and_closes_once() -> None:
    master = new(LocalSGD())
    for waiting in ([0, 1, 2], [0, 1], [1]):
        assert master.waiting == waiting
        rank = waiting[-1] if len(waiting) != 2 else 0
        master.take(rank, 0, X + rank)
    replies = master.close()
    assert sorted(replies) == [0, 1, 2]
    assert not any(reply.restart for reply in replies.values())
    torch.testing.assert_close(master.vector, X + 1.0)
    assert (master.round, master.waiting) == (1, [0, 1, 2])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_costs_its_replica_the_round(bad: float) -> None:
    broken = X.clone()
    broken[3] = bad
    master = new(LocalSGD())
    assert enter(master, X + 1.0, broken, X + 3.0) == [True, False, True]
    replies = master.close()
    torch.testing.assert_close(master.vector, X + 2.0)
    assert [replies[rank].restart for rank in range(3)] == [False, True, False]
    assert torch.equal(replies[1].vector, master.vector)
    assert master.faults == 1
    assert enter(master, X, X, X) == [True, True, True]
    assert not any(reply.restart for reply in master.close().values())


def test_opposite_infinities_do_not_hide_each_other() -> None:
    broken = X.clone()
    broken[0], broken[1] = math.inf, -math.inf
    assert enter(new(LocalSGD()), X, broken) == [True, False]


def test_half_precision_values_whose_sum_overflows_are_finite() -> None:
    master = new(LocalSGD(), 1, model_fn=lambda: nn.Linear(500, 1, dtype=torch.float16))
    assert enter(master, torch.full((501,), 6e4, dtype=torch.float16)) == [True]


def test_a_replica_that_had_to_restart_is_left_out_of_the_mean() -> None:
    master = new(Parle())
    enter(master, X + 1.0, None, X + 3.0)
    assert not master.close()[1].restart
    torch.testing.assert_close(master.vector, X + 2.0)
    assert master.faults == 0


def test_when_nobody_is_finite_the_run_has_diverged() -> None:
    master = new(Parle())
    enter(master, NAN, None, NAN)
    with pytest.raises(Diverged, match=r"round 0: .*lower the learning rate"):
        master.close()


def test_when_all_restart_the_master_stays_and_the_round_counts() -> None:
    master = new(Parle())
    enter(master, None, None, None)
    master.close()
    assert torch.equal(master.vector, X)
    assert master.round == 1


@pytest.mark.parametrize("push", [X[:5], X.float(), X.reshape(2, 3), X.numpy()])
def test_a_vector_of_another_model_costs_its_replica_the_round(push: Any) -> None:
    master = new(LocalSGD())
    assert enter(master, X + 1.0, push, X + 3.0) == [True, False, True]
    assert [reply.restart for reply in master.close().values()] == [False, True, False]
    torch.testing.assert_close(master.vector, X + 2.0)
    (line,) = master.entry.refusals()
    assert re.match(r"round 0: the push of replica 1 was refused \(.* expected .*\)", line)


def test_when_all_push_vectors_of_other_models_the_user_is_told() -> None:
    master = new(LocalSGD())
    enter(master, X[:5], X[:5], X[:5])
    with pytest.raises(InputError, match=r"round 0: .*\(shape \(5,\) .*same model everywhere"):
        master.close()


def test_a_restart_that_is_pending_survives_a_checkpoint() -> None:
    master = new(Parle())
    enter(master, X, NAN, X)
    master.close()
    restored = new(Parle())
    restored.load_state_dict(copy.deepcopy(master.state_dict()))
    assert [restored.reply(rank).restart for rank in range(3)] == [False, True, False]
    assert (restored.round, restored.faults) == (1, 1)


@pytest.mark.parametrize(
    "strategy",
    [Parle(sync_every=2), Parle(sync_every=2, reference="mean_z"), LocalSGD(sync_every=2), SGD()],
    ids=repr,
)
def test_a_replica_that_broke_walks_on_from_the_master(strategy: Strategy) -> None:
    fitted = task(
        strategy, num_rounds=9, batches_fn=broken_once, inner_optimizer_fn=sgd(momentum=0.9)
    ).fitted_to(12)
    master, learners = crew(fitted)
    for _ in range(6):
        play_round(master, learners)
    assert master.faults == 1
    assert master.waiting == [0, 1]
    assert torch.isfinite(master.vector).all()
    assert torch.isfinite(learners[1].vector).all()
    assert master.distance < 1.0


def test_a_replica_that_broke_starts_again_with_an_optimiser_of_no_past() -> None:
    fitted = task(
        LocalSGD(sync_every=2),
        num_rounds=9,
        batches_fn=broken_once,
        inner_optimizer_fn=lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
    ).fitted_to(12)
    master, learners = crew(fitted)
    for _ in range(3):
        play_round(master, learners)
    assert master.faults == 1
    sums = learners[1].state_dict()["inner"]["state"][0]
    assert sums["step"] == 2
    assert torch.isfinite(sums["sum"]).all()


@pytest.mark.parametrize(
    ("strategy", "pushes"),
    [
        (LocalSGD(), [X + 1.0, X - 1.0]),
        (DiLoCo(outer_lr=1.0, outer_momentum=0.0), [X + 1.0, X - 1.0]),
        (ElasticSGD(moving_rate=0.5), [torch.full_like(X, 0.5), torch.full_like(X, -0.5)]),
    ],
    ids=repr,
)
def test_distance_is_that_of_the_replicas_to_the_master(
    strategy: Strategy, pushes: list[Tensor]
) -> None:
    master = new(strategy, 2)
    enter(master, *pushes)
    master.close()
    assert master.distance == pytest.approx(6**0.5 / X.norm().item())


def test_who_is_left_of_the_replicas_may_be_refused_twice():
    roll = Roll([0, 1])
    roll.strike(1)
    for round in range(3):
        assert roll.tick(0, round, round)
        roll.refuse(0, "shape")
        if round == 2:
            break
        roll.check()
        roll.turn()
    with pytest.raises(InputError, match="every replica's push was refused"):
        roll.check()
