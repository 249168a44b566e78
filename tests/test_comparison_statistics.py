"""What `python -m jobs.compare` makes of its runs."""

import numpy as np
import pandas as pd
import pytest

from jobs.comparison import statistics
from jobs.comparison.store import frame
from tests.comparison import case, rows, run_of


def test_the_interval_of_one_value_is_the_value_and_of_many_the_known_one() -> None:
    assert statistics.bootstrap([0.3]) == (0.3, 0.3)
    values = np.random.default_rng(1).normal(size=400)
    low, high = statistics.bootstrap(list(values), resamples=4000)
    error = values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.01
    )


def test_the_summary_has_means_and_differences_seed_by_seed() -> None:
    summary = statistics.summarise(rows(), "ray_train_ddp").set_index("method")
    assert list(summary.index) == ["parle", "ray_train_ddp"], "best first, no diverged run"
    assert summary.loc["parle", "error"] == pytest.approx(0.18)
    assert summary.loc["parle", "std"] == pytest.approx(0.16 / 2**0.5)
    assert summary.loc["parle", "difference"] == pytest.approx(-0.07)
    assert summary.loc["parle", "difference_low"] == pytest.approx(-0.1)
    assert pd.isna(summary.loc["ray_train_ddp", "difference"])


def test_the_signs_of_five_seeds_say_one_in_32_and_those_of_none_nothing() -> None:
    assert statistics.sign_test([-1.0, -2.0, -0.5, -1.0, -3.0]) == 1 / 32
    assert statistics.sign_test([-1.0, 1.0]) == 0.75
    assert statistics.sign_test([1.0, 2.0]) == 1.0


def test_time_to_a_rivals_error_is_that_of_the_first_evaluation_that_has_it() -> None:
    times = statistics.time_to(rows()).set_index(["method", "rival"])
    first = times.loc[("parle", "ray_train_ddp")]
    assert (first["reached"], first["seeds"]) == (1, 2)
    assert (first["train_s"], first["gradients"], first["part"]) == (3.0, 100.0, 0.5)
    whole = rows().query("method == 'ray_train_ddp' and seed == 0")["train_s"].max()
    assert first["ratio"] == first["ratio_low"] == pytest.approx(3.0 / whole)
    assert times.loc[("ray_train_ddp", "parle")]["reached"] == 0


def test_every_two_methods_are_held_against_each_other_seed_by_seed() -> None:
    pairs = statistics.pairs(rows()).set_index(["method", "rival"])
    assert set(pairs.index) == {("parle", "ray_train_ddp"), ("ray_train_ddp", "parle")}
    ours, theirs = pairs.loc[("parle", "ray_train_ddp")], pairs.loc[("ray_train_ddp", "parle")]
    assert ours["difference"] == pytest.approx(-0.07) == -theirs["difference"]
    assert (ours["low"], ours["high"]) == pytest.approx((-0.1, -0.04))
    assert (ours["seeds"], ours["p"], theirs["p"]) == (2, 0.25, 1.0)


def test_a_shorter_run_is_held_against_the_whole_run_of_the_base() -> None:
    shorter = frame(
        {
            case("parle", 0, 0.5): run_of(0.4, 0.2, seconds=0.5),
            case("parle", 1, 0.5): run_of(0.4, 0.3, seconds=0.5),
            case("parle", 0, 0.25): run_of(0.4, seconds=0.5),
        }
    )
    both = pd.concat([rows(), shorter])
    told = statistics.lengths(both, "ray_train_ddp").set_index(["method", "length"])
    half, quarter = told.loc[("parle", 0.5)], told.loc[("parle", 0.25)]
    assert (half["error"], half["reaches"], half["ratio"]) == (0.25, True, 0.5)
    assert (quarter["seeds"], quarter["reaches"], quarter["ratio"]) == (1, False, 0.25)
    assert told.loc[("ray_train_ddp", 1.0)]["ratio"] == 1.0
    assert statistics.whole(both).equals(rows())


def test_a_curve_is_the_mean_where_all_seeds_have_a_point() -> None:
    uneven = frame({case("parle", 0): run_of(0.4, 0.2), case("parle", 1): run_of(0.2)})
    drawn = statistics.curves(uneven)
    assert list(drawn["gradients"]) == [100]
    assert (drawn["error"][0], drawn["low"][0], drawn["high"][0]) == pytest.approx((0.3, 0.2, 0.4))
