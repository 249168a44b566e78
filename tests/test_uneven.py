"""`uneven`: a replica walks as far in a round as it can while the fastest walks L."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parle_ray import ReplicaOptimizer
from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.membership.local_updates import REMEMBERED, LocalUpdates
from parle_ray.schedules import Steps
from parle_ray.strategies import (
    STRATEGIES,
    DiLoCo,
    LocalSGD,
    Parle,
    Rotation,
    Strategy,
)
from parle_ray.strategies.rotation import block
from tests import reference_uneven as paper
from tests.problems import NUM_PARAMS, START, gradient_of, run, sgd, squares
from tests.reference import Momentum, constant
from tests.test_contract import ROWS
from tests.test_kill_points import fit, one_process  # noqa: F401
from tests.test_mates import threads  # noqa: F401
from tests.test_weighting import SIZES, unequal

UNEVEN = {
    name: replace(row.strategy, uneven=True)
    for name, row in ROWS.items()
    if not row.strategy.fixed_walk
}
each = pytest.mark.parametrize("strategy", UNEVEN.values(), ids=UNEVEN.keys())
LEDGER = [[4, 1, 2], [1, 3, 4], [2, 4, 1], [4, 4, 3]]


def told(paces: dict[int, list[float]], steps: int = 4) -> LocalUpdates:
    """After walks at so many seconds for each mini-batch."""
    updates = LocalUpdates()
    for rank, walks in paces.items():
        for pace_s in walks:
            updates.told(rank, pace_s * steps, steps)
    return updates


def test_the_fastest_walks_l_and_the_others_what_fits_in_its_time() -> None:
    updates = told({0: [0.25], 1: [0.5], 2: [0.75], 3: [100.0]})
    assert [updates.steps(rank, 10) for rank in range(4)] == [10, 5, 3, 1]


def test_who_has_not_walked_yet_walks_l() -> None:
    assert LocalUpdates().steps(0, 25) == 25
    assert told({0: [1.0]}).steps(1, 25) == 25


def test_a_slow_first_walk_and_a_pause_do_not_count_and_a_new_speed_does() -> None:
    steady = [1.0] * 2 * REMEMBERED
    compiles, pauses = [60.0, 1.0], [1.0, 60.0, 1.0, 60.0, 1.0]
    assert told({0: steady, 1: compiles}).steps(1, 25) == 25
    assert told({0: steady, 1: pauses}).steps(1, 25) == 25
    assert told({0: steady, 1: [*steady, 5.0, 5.0]}).steps(1, 25) == 25
    assert told({0: steady, 1: [*steady, 5.0, 5.0, 5.0]}).steps(1, 25) == 5


def test_when_the_fastest_is_gone_the_next_walks_l() -> None:
    updates = told({0: [1.0], 1: [4.0], 2: [8.0]})
    updates.forget(0)
    updates.forget(0)
    assert [updates.steps(rank, 8) for rank in (1, 2)] == [8, 4]


@given(paces=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5), longest=st.integers(1, 500))
def test_nobody_needs_more_time_than_the_fastest_but_for_a_single_step(
    paces: list[float], longest: int
) -> None:
    updates = told({rank: [pace_s] for rank, pace_s in enumerate(paces)})
    steps = [updates.steps(rank, longest) for rank in range(len(paces))]
    assert max(steps) == steps[int(np.argmin(paces))] == longest
    time_s = longest * min(paces) * (1 + 1e-9)
    for num, pace_s in zip(steps, paces, strict=True):
        assert num == 1 or num * pace_s <= time_s
        assert (num + 1) * pace_s > longest * min(paces) * (1 - 1e-9)


@each
def test_replicas_of_one_speed_have_the_bits_of_a_run_that_is_not_uneven(
    strategy: Strategy,
) -> None:
    ours, speedy, plain = (
        run(strategy, num_replicas=3),
        run(strategy, num_replicas=3, speeds=[0.7] * 3),
        run(replace(strategy, uneven=False), num_replicas=3),
    )
    for one in (ours, speedy):
        assert torch.equal(one.master, plain.master)
        assert torch.equal(torch.stack(one.replicas), torch.stack(plain.replicas))
    even = [{k: v for k, v in report.items() if "steps" not in k} for report in ours.history]
    assert even == plain.history


@each
def test_a_run_is_made_again_from_the_steps_of_its_reports(strategy: Strategy) -> None:
    first = run(strategy, num_replicas=3, num_rounds=5, speeds=[1.0, 3.0, 2.0])
    steps = [[report[f"replica/{rank}/steps"] for rank in range(3)] for report in first.history]
    assert any(len({*walked}) > 1 for walked in steps)
    again = run(strategy, num_replicas=3, num_rounds=5, steps=steps)
    assert torch.equal(first.master, again.master)
    assert torch.equal(torch.stack(first.replicas), torch.stack(again.replicas))
    assert first.history == again.history


REFERENCES: dict[str, tuple[Any, Strategy]] = {
    "federated averaging": (
        functools.partial(paper.diloco, eta=constant(1.0), mu=0.0),
        LocalSGD(sync_every=4, weighting="samples", uneven=True),
    ),
    "diloco": (
        functools.partial(paper.diloco, eta=constant(0.4), mu=0.5),
        DiLoCo(sync_every=4, outer_lr=0.4, outer_momentum=0.5, weighting="samples", uneven=True),
    ),
    "parle": (
        functools.partial(paper.parle, gamma=10.0, rho=4.0, alpha=0.75, eta=constant(0.4), mu=0.5),
        Parle(
            sync_every=4,
            gamma=10.0,
            outer_lr=0.4,
            outer_momentum=0.5,
            weighting="samples",
            uneven=True,
        ),
    ),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_simulate_equals_the_equations(case: str) -> None:
    algorithm, strategy = REFERENCES[case]
    options: dict[str, Any] = {"momentum": 0.9, "nesterov": True}
    outcome = run(
        strategy,
        batches_fn=unequal,
        inner_optimizer_fn=sgd(0.1, **options),
        num_replicas=3,
        num_rounds=4,
        steps=LEDGER,
    )
    inner = functools.partial(Momentum, constant(0.1), **options)
    gradient = gradient_of(squares, unequal)
    model, replicas = algorithm(gradient, START, inner, steps=LEDGER, sizes=SIZES)
    np.testing.assert_allclose(outcome.master.numpy(), model, rtol=0, atol=1e-12)
    for ours, theirs in zip(outcome.replicas, replicas, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)


def test_the_owner_of_a_block_walks_it_as_far_as_it_is_told() -> None:
    outcome = run(Rotation(uneven=True), num_rounds=1, steps=[[3, 1]])
    expected = START.copy()
    for rank, steps in enumerate([3, 1]):
        own, y = block(rank, 2, 0), START.copy()
        part = slice(own * NUM_PARAMS // 2, (own + 1) * NUM_PARAMS // 2)
        for t in range(steps):
            y[part] -= 0.1 * gradient_of(squares)(rank, t, y)[part]
        expected[part] = y[part]
    np.testing.assert_allclose(outcome.master.numpy(), expected, rtol=0, atol=1e-12)


def test_speeds_are_known_from_the_second_round_on_and_l_may_grow() -> None:
    growing = LocalSGD(sync_every=Steps((4, 8), (0.5,)), uneven=True)
    history = run(growing, num_rounds=4, speeds=[1.0, 4.0]).history
    steps = [[report[f"replica/{rank}/steps"] for rank in range(2)] for report in history]
    assert steps == [[4, 4], [1, 4], [1, 4], [2, 8]]
    assert [report["step"] for report in history] == [4, 8, 12, 20]


@pytest.mark.parametrize(
    "strategy",
    [
        *(replace(UNEVEN[name], weighting="samples") for name in ("local_sgd", "diloco", "parle")),
        UNEVEN["rotation"],
    ],
    ids=lambda strategy: type(strategy).__name__,
)
@pytest.mark.parametrize("options", [{}, {"tree": 1}, {"execution": Execution(num_processes=2)}])
def test_a_coordinator_asks_by_the_times_it_is_told(
    monkeypatch: pytest.MonkeyPatch, strategy: Strategy, options: dict[str, Any]
) -> None:
    on_a_virtual_clock(monkeypatch)
    steps: list[list[int]] = []
    how = {"num_rounds": 4, "inner_optimizer_fn": sgd(momentum=0.9)} | options
    rounds, losses, master, _ = fit(monkeypatch, strategy, None, steps=steps, **how)
    unknown = 1 + strategy.overlaps  # the second round is asked for ahead
    longest = strategy.sync_every
    assert steps == [[longest, longest]] * unknown + [[longest, 1]] * (4 - unknown)
    outcome = run(strategy, steps=steps, **how)
    assert rounds == [1, 2, 3, 4]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)


def test_wherever_the_coordinator_is_killed_the_steps_of_the_reports_give_its_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_a_virtual_clock(monkeypatch)
    how: dict[str, Any] = {"num_rounds": 3, "inner_optimizer_fn": sgd(momentum=0.9)}
    strategy, seen = replace(UNEVEN["parle"], weighting="samples"), set()
    die_at, died = 0, True
    while died:
        die_at += 1
        steps: list[list[int]] = []
        rounds, losses, master, office = fit(monkeypatch, strategy, die_at, steps=steps, **how)
        died = len(office.coordinators) > 1
        outcome = run(strategy, steps=steps, **how)
        assert rounds == [1, 2, 3], die_at
        assert losses == [report["loss"] for report in outcome.history], die_at
        assert torch.equal(master["vector"], outcome.master), die_at
        seen.add(tuple(map(tuple, steps)))
    assert die_at > 30
    assert len(seen) > 1  # the successor has to learn the speeds again


def on_a_virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replica 1 says that it is three times as slow as replica 0."""
    tell = LocalUpdates.told

    def told(updates: LocalUpdates, rank: int, walk_s: float, steps: int) -> None:
        tell(updates, rank, (1.0 + 2.0 * rank) * steps, steps)

    monkeypatch.setattr(LocalUpdates, "told", told)


@pytest.mark.parametrize("kind", [kind for kind in STRATEGIES.values() if kind.fixed_walk])
def test_where_a_walk_has_its_length_it_cannot_be_uneven(kind: type[Strategy]) -> None:
    with pytest.raises(InputError, match=r"uneven: True .* walk sync_every mini-batches"):
        kind(uneven=True)


def test_walks_of_any_length_are_those_without_l_in_their_equations() -> None:
    fixed = {name for name, kind in STRATEGIES.items() if kind.fixed_walk and kind.synchronous}
    assert fixed == {"auto_splash", "sgd", "tail_averaging", "hierarchical_parle"}
    assert all(kind.fixed_walk for kind in STRATEGIES.values() if not kind.synchronous)


@pytest.mark.parametrize(
    ("strategy", "given", "message"),
    [
        (LocalSGD(), {"steps": LEDGER}, "steps are for a strategy with uneven=True"),
        (LocalSGD(), {"speeds": [1.0] * 3}, "speeds and arrivals are for asynchronous .* uneven"),
        (None, {"speeds": [1.0] * 3, "steps": LEDGER}, "give speeds or steps, not both"),
        (None, {"speeds": [1.0, 0.0, 1.0]}, "speeds must be 3 finite numbers > 0"),
        (None, {"arrivals": [0, 1]}, "speeds and arrivals are for asynchronous"),
        (None, {"steps": [[4, 4]] * 4}, r"steps: \[4, 4\] of round 0 must be 3 whole numbers >= 1"),
        (None, {"steps": [*LEDGER[:3], [4, 0, 1]]}, r"\[4, 0, 1\] of round 3 must be 3 whole"),
        (None, {"steps": LEDGER[:3]}, "steps: there are 3 rounds of them and this run has more"),
    ],
)
def test_what_does_not_go_together_is_refused(
    strategy: Strategy | None, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(strategy or LocalSGD(uneven=True), num_replicas=3, num_rounds=4, **given)


def test_loops_of_ones_own_exchange_at_the_same_step() -> None:
    module = torch.nn.Linear(2, 1)
    inner = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"uneven: True needs a coordinator .* use False"):
        ReplicaOptimizer(module, inner, LocalSGD(uneven=True))
