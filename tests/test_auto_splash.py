"""The automatic degree of Splash: the search against a procedure, and what becomes of a trial."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parle_ray.errors import Diverged
from parle_ray.fold import Pushed
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.replica import Reply
from parle_ray.strategies import AutoSplash, LocalSGD, State
from parle_ray.strategies.degree import PAUSE, Phase, Search
from tests import reference_relatives as paper
from tests.cuts import Crew
from tests.problems import START, Batch, batches, gradient_of, run, sgd, squares, task
from tests.reference import Momentum
from tests.test_identities import NESTEROV, torch_sgd

X = torch.from_numpy(START)


def loss(a: int, t: int, w: np.ndarray) -> float:
    """`squares`, by hand."""
    rows, b = (tensor.numpy() for tensor in batches(a, 0)[t % 3])
    return float(((rows @ w - b) ** 2).mean() / 2)


@pytest.mark.parametrize(
    ("lr", "K"), [(0.003, 42), (0.02, 30), (0.1, 1), (0.1, 2), (0.1, 5), (0.1, 6), (0.1, 30)]
)
def test_simulate_equals_the_search_as_a_procedure(lr: float, K: int) -> None:
    outcome = run(
        AutoSplash(sync_every=5, held_out=0.5),
        num_replicas=8,
        num_rounds=K,
        inner_optimizer_fn=sgd(lr, momentum=0.5),
    )
    inner = partial(Momentum, lambda k: lr, momentum=0.5)
    model, degrees = paper.auto_splash(
        gradient_of(squares), START, 8, K, inner, L=5, judged=2, loss=loss
    )
    assert [report["degree"] for report in outcome.history] == degrees
    np.testing.assert_allclose(outcome.model.numpy(), model, rtol=0, atol=1e-12)


def test_one_replica_is_sequential_sgd_to_the_bit_and_so_is_a_degree_of_one_local_sgd() -> None:
    options = {"inner_optimizer_fn": sgd(0.1, **NESTEROV), "num_rounds": 5}
    alone = run(AutoSplash(sync_every=4), num_replicas=1, **options)
    assert torch.equal(alone.master, torch_sgd(20, 0.1, **NESTEROV))
    ours = run(AutoSplash(sync_every=4, max_weight=1), num_replicas=3, **options)
    assert torch.equal(ours.master, run(LocalSGD(sync_every=4), num_replicas=3, **options).master)
    assert torch.equal(ours.model, ours.master)


@pytest.mark.parametrize(
    ("most", "rising", "falling"),
    [
        (1, [1], [1]),
        (3, [1, 3], [3, 1]),
        (7, [1, 7], [7, 1]),
        (8, [1, 4, 8], [8, 2, 1]),
        (64, [1, 4, 16, 64], [64, 16, 4, 1]),
        (100, [1, 4, 16, 100], [100, 25, 6.25, 1]),
    ],
)
def test_from_one_to_the_most_and_back_no_step_is_shorter_than_to_the_double(
    most: float, rising: Sequence[float], falling: Sequence[float]
) -> None:
    for degrees, choose in ((rising, max), (falling, min)):
        search = Search(most=float(most), winner=float(degrees[0]))
        for degree in degrees[1:]:
            search = replace(search, winner=choose(search.rivals))
            assert search.winner == degree
        assert choose([search.winner, *search.rivals]) == degrees[-1]


def test_the_pause_doubles_while_one_degree_wins_and_is_short_again_for_another() -> None:
    search, pauses = Search(most=2.0), []
    for rival_wins in (False, False, False, True, False):
        assert (search.phase, search.degree) == (Phase.TRY, search.winner)
        search = search.goes_on().measured().goes_on()
        assert search.phase == Phase.COMPARE
        search = search.goes_on() if rival_wins else search.lost()
        pauses.append(0)
        while not search.tries:
            search = search.goes_on()
            pauses[-1] += 1
    assert pauses == [PAUSE, 2 * PAUSE, 4 * PAUSE, 0, PAUSE]


def explosive(module: nn.Module, batch: Batch) -> Tensor:
    """With a step too long it is not finite a few steps later."""
    return (module(batch[0]) - batch[1]).pow(4).mean()


def crew_of(lr: float, **changes: Any) -> Crew:
    """Eight replicas of which some degrees explode."""
    given = {"loss_fn": explosive, "inner_optimizer_fn": sgd(lr, momentum=0.9)} | changes
    strategy = AutoSplash(sync_every=9)
    return Crew(task(strategy, num_replicas=8, num_rounds=30, **given).fitted_to(3))


def failed(crew: Crew) -> float:
    """How many replicas say that their last walk was not finite."""
    states = [learner.state_dict()["strategy"] for learner in crew.learners]
    return sum(state["failed"].item() for state in states)


def test_a_degree_whose_walks_are_not_finite_is_out_and_the_run_goes_on() -> None:
    crew, lost = crew_of(0.001), {}
    for _ in range(30):
        degree = crew.master.numbers[0]
        crew.play(1)
        lost[degree] = max(lost.get(degree, 0.0), failed(crew))
        assert crew.master.model.isfinite().all()
    assert lost == {1.0: 0.0, 4.0: 8.0}
    assert crew.master.faults == 0


def test_where_not_even_one_is_finite_the_run_has_diverged() -> None:
    with pytest.raises(Diverged, match=r"round 1: .*lower the learning rate"):
        crew_of(0.006).play(2)


class Coordinator:
    """The coordinator's half alone, which is told what replicas would tell."""

    def __init__(self, **search: float) -> None:
        self.master = X.clone()
        self.state: State = AutoSplash().init_master(self.master)
        self.state.update(Search(**search).numbers())

    def merge(self, value: float, failed: float = 0.0, gains: Sequence[float] = (0.0,)) -> float:
        """Four replicas, of 8 examples each, have come to `value`; the degree that is next."""
        gain = sum(gains) / 4, sum(gain * gain for gain in gains) / 4
        numbers = self.state["degree"].item(), 64.0, failed, 8.0, len(gains) / 4, *gain
        pushed = Pushed(torch.full_like(X, value), 4 * 8, 0.0, numbers)
        AutoSplash().merge(self.master, self.state, pushed, 0)
        return self.state["degree"].item()

    @property
    def phase(self) -> float:
        return self.state["phase"].item()

    @property
    def model(self) -> Tensor:
        return AutoSplash().model(self.master, self.state)


def at(value: float) -> Tensor:
    return torch.full_like(X, value)


def test_all_degrees_set_out_from_one_place_and_the_run_goes_on_from_the_best() -> None:
    ours = Coordinator(winner=4.0, degree=4.0, heading=-1.0)
    degrees, masters, models = [], [], []
    for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0):
        degrees.append(ours.merge(value))
        masters.append(ours.master.clone())
        models.append(ours.model.clone())
    assert degrees == [4.0, 1.0, 1.0, 16.0, 16.0, 4.0, 4.0]
    expected = [at(1.0), X, at(3.0), X, at(5.0), at(2.0), at(7.0)]
    assert torch.equal(torch.stack(masters), torch.stack(expected))
    expected = [X, at(2.0), at(2.0), at(2.0), at(2.0), at(2.0), at(7.0)]
    assert torch.equal(torch.stack(models), torch.stack(expected))


@pytest.mark.parametrize(
    ("gains", "wins"),
    [
        ([1.0, 3.0, 1.0, 3.0], True),  # 2.0 beside a standard error of 0.5
        ([5.0, -3.0, 5.0, -3.0], False),  # 1.0 beside 2.0
        ([5.0, -3.0, 5.0], True),  # 2.3 beside 2.2, the fourth has nothing to compare with
        ([-1.0, -1.0, -1.0, -1.0], False),
        ([math.nan, 1.0, 1.0, 1.0], False),
        ([math.inf, 1.0, 1.0, 1.0], False),
        ([], False),
    ],
)
def test_a_rival_wins_by_more_than_the_standard_error_of_what_replicas_gain(
    gains: list[float], wins: bool
) -> None:
    ours = Coordinator(winner=4.0, degree=16.0, phase=Phase.COMPARE, stands=1.0)
    ours.merge(1.0, gains=gains)
    assert Search.of(ours.state).winner == (16.0 if wins else 4.0)
    assert torch.equal(ours.master, at(1.0) if wins else X)


def test_a_winner_that_comes_to_nothing_gives_way_to_lower_degrees_until_one_holds() -> None:
    ours = Coordinator(winner=64.0, degree=64.0)
    assert ours.merge(9.0, failed=0.75) == 16.0
    assert torch.equal(ours.master, X)
    assert ours.merge(1.0, failed=0.5) == 16.0
    assert ours.phase == Phase.COMPARE
    assert ours.merge(9.0, failed=1.0) == 4.0
    assert torch.equal(ours.master, X)
    assert ours.merge(2.0) == 4.0
    assert ours.merge(3.0) == 4.0
    assert (ours.phase, Search.of(ours.state).winner) == (Phase.TRY, 4.0)
    assert torch.equal(ours.master, at(3.0))


def test_a_replica_that_was_not_there_to_measure_has_nothing_to_compare() -> None:
    fitted = task(AutoSplash(sync_every=4), num_replicas=8, num_rounds=99).fitted_to(3)
    learner = Learner(fitted, 0)
    learner.start(fitted, 10)
    told = {}
    rounds = [Phase.COMPARE, Phase.MEASURE, Phase.TRY, Phase.COMPARE, Phase.TRY, Phase.COMPARE]
    for round, phase in enumerate([*rounds, Phase.TRY, Phase.COMPARE], 10):
        told[round] = learner.play(round, partial(Reply, X, numbers=(4.0, float(phase)))).numbers
    compared = {round: numbers[4] for round, numbers in told.items() if numbers[4]}
    assert compared == {13: 1.0, 15: 1.0}
    assert told[13][5] != 0.0  # other mini-batches than those of round 11


def test_what_comes_late_is_of_another_trial_and_is_dropped() -> None:
    master = Master(task(AutoSplash(), num_replicas=3, num_rounds=9).fitted_to(3), range(3))
    numbers = (1.0, 3.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    for rank in (0, 1):
        master.take(rank, 0, X, numbers=numbers)
    master.close()
    assert not master.take(2, 0, X, 0, numbers)
