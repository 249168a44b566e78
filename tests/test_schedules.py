"""Schedules are functions of the round, finite and monotone, and refuse what is not a number."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parle_ray.errors import InputError
from parle_ray.schedules import (
    PAPER_BATCHES_PER_PASS,
    Constant,
    Cosine,
    Geometric,
    Plan,
    Schedule,
    Scoping,
    Steps,
    at,
    lowest,
)

positive = st.floats(1e-3, 1e3)
counts = st.integers(1, 60)


def whole_run(schedule: Schedule, num_rounds: int) -> list[float]:
    bound = schedule.bind(Plan(num_rounds=num_rounds, batches_per_pass=7))
    return [bound(k) for k in range(num_rounds)]


@given(initial=positive, final=positive, num_rounds=counts)
def test_progress_starts_at_the_first_value_and_ends_at_the_last(
    initial: float, final: float, num_rounds: int
) -> None:
    for schedule in (Geometric(initial, final), Cosine(initial, final)):
        values = whole_run(schedule, num_rounds)
        assert values[0] == pytest.approx(initial)
        if isinstance(schedule, Cosine):
            values.append(schedule.bind(Plan(num_rounds=num_rounds))(num_rounds))
        if len(values) > 1:
            assert values[-1] == pytest.approx(final)
        sign = math.copysign(1.0, final - initial)
        slack = 1e-9 * max(initial, final)
        assert all(sign * (b - a) >= -slack for a, b in itertools.pairwise(values))


@given(initial=positive, final=positive, num_rounds=st.integers(3, 60))
def test_geometric_changes_by_the_same_factor_every_round(
    initial: float, final: float, num_rounds: int
) -> None:
    values = whole_run(Geometric(initial, final), num_rounds)
    factors = [b / a for a, b in itertools.pairwise(values)]
    assert factors == pytest.approx([factors[0]] * len(factors))


@given(initial=positive, floor=st.floats(0.0, 10.0), batches=counts, round=st.integers(0, 10_000))
def test_scoping_falls_by_one_part_in_2b_a_round_to_its_floor(
    initial: float, floor: float, batches: int, round: int
) -> None:
    schedule = Scoping(initial, floor=floor, batches_per_pass=batches)
    before, after = schedule(round), schedule(round + 1)
    assert after == pytest.approx(max(floor, before * (1 - 1 / (2 * batches))))
    assert after <= before


@given(
    schedule=st.one_of(
        st.builds(Constant, positive),
        st.builds(Scoping, positive, st.floats(1e-3, 10.0)),
        st.builds(Geometric, positive, positive),
        st.builds(Cosine, positive, positive),
        st.builds(lambda a, b: Steps((a, b), (0.5,)), positive, positive),
    ),
    num_rounds=counts,
)
def test_no_value_is_below_the_lowest(schedule: Schedule, num_rounds: int) -> None:
    assert min(whole_run(schedule, num_rounds)) >= schedule.lowest * (1 - 1e-12)
    assert schedule.lowest > 0.0


def test_a_binding_fills_in_what_was_left_open_and_nothing_else() -> None:
    plan = Plan(num_rounds=11, batches_per_pass=5)
    assert Scoping(1.0).bind(plan) == Scoping(1.0, batches_per_pass=5)
    assert Scoping(1.0, batches_per_pass=3).bind(plan) == Scoping(1.0, batches_per_pass=3)
    assert Geometric(4.0, 1.0).bind(plan) == Geometric(4.0, 1.0, num_rounds=11)
    assert Cosine(4.0, num_rounds=3).bind(plan) == Cosine(4.0, num_rounds=3)
    assert Constant(2.0).bind(plan) == Constant(2.0)


def test_without_a_length_scoping_has_the_papers_and_progress_asks_for_one() -> None:
    assert PAPER_BATCHES_PER_PASS == 391
    assert Scoping(100.0)(1) == 100.0 * (1 - 1 / 782)
    unknown = Plan(num_rounds=9, batches_per_pass=None)
    assert Scoping(100.0).bind(unknown)(1) == 100.0 * (1 - 1 / 782)
    with pytest.raises(InputError, match=r"Geometric\(100, 1\).*num_rounds"):
        Geometric(100, 1)(0)


def test_the_papers_scoping_reaches_its_floors_in_the_passes_that_the_papers_code_needs() -> None:
    """gamma after 9.2 and rho after 4.6 of Parle's epochs, each of 391 rounds."""
    gamma, rho = Scoping(100.0, floor=1.0), Scoping(1.0, floor=0.1)
    for schedule, epochs in ((gamma, 9.2), (rho, 4.6)):
        reached = next(k for k in itertools.count() if schedule(k) == schedule.floor)
        assert reached / 391 == pytest.approx(epochs, abs=0.1)


def test_after_the_planned_end_the_last_value_stays() -> None:
    assert Geometric(100.0, 1.0, num_rounds=3)(7) == pytest.approx(1.0)
    assert Cosine(1.0, 0.5, num_rounds=3)(7) == 0.5


def test_a_number_is_a_schedule_too() -> None:
    assert at(3, 100) == 3
    assert at(math.inf, 0) == lowest(math.inf) == math.inf
    assert at(Geometric(100.0, 1.0, num_rounds=3), 1) == pytest.approx(10.0)
    assert lowest(Constant(2.0)) == 2.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Geometric(1.0, math.nan), "Geometric: final must be a finite number, got nan"),
        (lambda: Geometric(1.0, 0.0), "Geometric: final must be > 0, got 0.0"),
        (lambda: Geometric(-1.0, 1.0), "Geometric: initial must be > 0, got -1.0"),
        (lambda: Geometric(1.0, 2.0, 0), "Geometric: num_rounds must be a whole number >= 1"),
        (lambda: Cosine(math.inf), "Cosine: initial must be a finite number, got inf"),
        (lambda: Cosine(1.0, "0"), "Cosine: final must be a finite number, got '0'"),
        (lambda: Scoping(math.nan, floor=1.0), "Scoping: initial must be a finite number, got nan"),
        (lambda: Scoping(1.0, batches_per_pass=0), "Scoping: batches_per_pass must be .*, got 0"),
        (lambda: Steps((0.1, 0.02), ()), "Steps: there must be one value more than drops"),
        (lambda: Steps((3.0, 2.0, 1.0), (0.6, 0.2)), "Steps: drops must rise between 0 and 1"),
        (lambda: Steps((2.0, 1.0), (1.0,)), "Steps: drops must rise between 0 and 1"),
        (lambda: Steps((0.1, math.nan), (0.5,)), "Steps: values must be a finite number, got nan"),
    ],
)
def test_what_is_no_schedule_is_refused_where_it_is_made(
    make: Callable[[], Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_steps_drop_when_their_part_of_the_run_is_over() -> None:
    assert (
        whole_run(Steps((0.1, 0.02, 0.001), (0.2, 0.6)), 10) == [0.1] * 2 + [0.02] * 4 + [0.001] * 4
    )
    assert Steps((0.1, 0.02), (0.5,)).bind(Plan(num_rounds=None)) == Constant(0.1)
