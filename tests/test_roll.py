"""Who is waited for, what becomes of late answers, and who is given up."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from parle_ray.master import Master
from parle_ray.membership.ledger import Fate
from parle_ray.membership.roll import Roll
from parle_ray.strategies import SGD, LocalSGD, Parle, Strategy
from tests.problems import START, task

X = torch.from_numpy(START).clone()
NAN = torch.full_like(X, math.nan)


def new(strategy: Strategy) -> Master:
    return Master(task(strategy, num_replicas=3, num_rounds=9).fitted_to(3), range(3))


def closed_without(master: Master, rank: int, push: Tensor | np.ndarray = X) -> None:
    """A round in which all others push the same."""
    for other in master.ranks:
        if other != rank:
            master.take(other, master.round, push)
    master.close()


def coded() -> tuple[Master, np.ndarray]:
    """A master that reads int8 differences, and such a push."""
    fitted = task(
        Parle(), model_fn=lambda: torch.nn.Linear(50, 1), num_replicas=3, compression="int8"
    ).fitted_to(3)
    master = Master(fitted, range(3))
    end = fitted.replica_end(master.vector)
    assert end is not None
    return master, end.code(master.vector + 1.0)


@pytest.mark.parametrize(("n", "quorum"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 4)])
def test_half_of_the_living_are_a_quorum(n: int, quorum: int) -> None:
    roll = Roll(range(n))
    for rank in range(quorum):
        assert not roll.may_close(True)
        roll.tick(rank, 0, 0)
    assert roll.may_close(True)
    assert roll.may_close(False) == (quorum == n)


def test_the_dead_are_not_waited_for() -> None:
    roll = Roll(range(4))
    roll.tick(0, 0, 0)
    assert not roll.may_close(True)
    roll.strike(3)
    roll.strike(2)
    assert (roll.quorum, roll.may_close(True), roll.may_close(False)) == (1, True, False)
    roll.strike(1)
    assert roll.may_close(False)


def test_who_trails_is_not_waited_for_until_it_answers_in_time() -> None:
    roll = Roll(range(2))
    for round in range(3):
        roll.tick(0, round, round)
        roll.turn()
        assert (roll.trailing, roll.waiting) == ({1}, [0])
    roll.tick(1, 0, 0)
    roll.tick(0, 3, 3)
    roll.turn()
    assert roll.trailing == {1}, "what it answered is four rounds old"
    roll.tick(1, 3, 3)
    roll.tick(0, 4, 4)
    roll.turn()
    assert (roll.trailing, roll.waiting) == (set(), [0, 1]), "one round late is soon enough"


def test_a_late_vector_is_merged_in_the_round_in_which_it_comes() -> None:
    master = new(LocalSGD())
    closed_without(master, 2)
    assert master.take(2, 0, X + 3.0, 0)
    master.take(0, 1, X)
    master.take(1, 1, X)
    master.close()
    torch.testing.assert_close(master.vector, X + 1.0)
    assert master.entry.fates[2, 0] == Fate.LATE
    assert (master.entry.num_merged, master.entry.num_late) == (3, 1)


def test_a_replica_counts_once_in_a_round_by_its_newest_push() -> None:
    master = new(LocalSGD())
    closed_without(master, 2)
    assert master.take(2, 0, X + 30.0, 0)
    assert master.take(2, 1, X + 3.0, 1)
    master.take(0, 1, X)
    master.take(1, 1, X)
    master.close()
    torch.testing.assert_close(master.vector, X + 1.0)
    assert (master.entry.fates[2, 0], master.entry.fates[2, 1]) == (Fate.DROPPED, Fate.MERGED)


def test_a_late_gradient_is_dropped() -> None:
    late, without = new(SGD()), new(SGD())
    for master in (late, without):
        closed_without(master, 2, torch.ones_like(X))
    assert not late.take(2, 0, 100.0 * torch.ones_like(X), 0)
    for master in (late, without):
        closed_without(master, 2, torch.ones_like(X))
    assert late.entry.fates[2, 0] == Fate.DROPPED
    assert torch.equal(late.vector, without.vector)


@pytest.mark.parametrize(("seen", "fate"), [(0, Fate.DROPPED), (1, Fate.LATE)])
def test_a_late_code_is_merged_only_as_a_difference_to_the_newest_reply(
    seen: int, fate: Fate
) -> None:
    master, code = coded()
    closed_without(master, 2, code)
    assert master.take(2, 0, code, seen) == (fate == Fate.LATE)
    assert master._open.fates[2, 0] == fate


def test_a_round_that_is_over_is_skipped_and_costs_nothing() -> None:
    roll = Roll(range(2))
    roll.tick(0, 0, 0)
    roll.turn()
    roll.skip(1, 0)
    assert (roll.answered, roll.faults) == (set(), 0)
    assert not roll.tick(1, 0, 0), "it has said that it has no answer"
    roll.tick(0, 1, 1)
    roll.tick(1, 1, 1)
    roll.turn()
    assert roll.entry.fates[1, 0] == Fate.SKIPPED
    assert roll.entry.strays == 1
    assert roll.trailing == set()


@pytest.mark.parametrize(("good_between", "unfit"), [(False, [1]), (True, [])])
def test_three_refusals_in_a_row_are_too_many(good_between: bool, unfit: list[int]) -> None:
    master = new(LocalSGD())
    for count in range(3):
        assert master.unfit() == []
        if good_between and count == 1:
            for rank in master.ranks:
                master.take(rank, master.round, X)
            master.close()
        for rank, push in enumerate([X, NAN, X]):
            master.take(rank, master.round, push)
        master.close()
    assert (master.unfit(), master.faults) == (unfit, 3)


def test_nothing_of_a_refused_replica_is_merged_until_it_has_started_again() -> None:
    master = new(LocalSGD())
    for rank, push in enumerate([X, NAN, X]):
        master.take(rank, 0, push)
    assert master.close()[1].restart
    assert not master.take(1, 1, X + 9.0, 0), "it had not been told"
    closed_without(master, 1)
    assert torch.equal(master.vector, X)
    assert master.reply(1).restart
    assert master.take(1, 2, X + 9.0, 2)
    assert not master.reply(1).restart


@pytest.mark.parametrize(
    "push",
    [np.zeros(3, np.uint8), np.zeros(10**6, np.uint8), np.zeros(6), X],
    ids=lambda p: p.shape,
)
def test_what_is_no_code_costs_its_replica_the_round(push: Tensor | np.ndarray) -> None:
    master, code = coded()
    assert not master.take(1, 0, push)
    closed_without(master, 1, code)
    (line,) = master.entry.refusals()
    assert "replica 1 was refused" in line
    assert "expected" in line
    assert master.reply(1).restart
