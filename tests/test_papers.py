"""`python -m jobs.reproduce --paper`: runs side by side, what is read off them, what is told."""

import json
import math
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console

from jobs.reproduction.papers import PAPERS, multi_gpu, output
from jobs.reproduction.papers.digits import training_loss
from jobs.reproduction.papers.found import Claim, Found
from jobs.reproduction.papers.ratings import (
    BATCH,
    BATCHES_A_BLOCK,
    COLUMNS,
    REPLICAS,
    ROWS,
    OwnRows,
    Turns,
    blocks,
    factorise,
)
from jobs.reproduction.papers.side_by_side import Trace, shards, times, walk
from jobs.reproduction.papers.splash import Logistic
from jobs.reproduction.papers.splash_degree import one_seed
from parle_ray.strategies import LocalSGD, Rotation, Splash


def losses(rates: list[float], strategy: LocalSGD) -> torch.Tensor:
    """Of the digits, after a round of two replicas."""
    problem = training_loss(lambda num_rates: Logistic(2, num_rates), rates, 2, 1e-3)
    return walk(problem, strategy, shards(2, 40), num_replicas=2, num_rounds=1).values[-1]


def test_runs_side_by_side_are_those_that_each_rate_makes_alone() -> None:
    both = losses([0.1, 0.02], LocalSGD(sync_every=5))
    for rate, ours in zip((0.1, 0.02), both, strict=True):
        alone = losses([rate], LocalSGD(sync_every=5))
        torch.testing.assert_close(alone[0], ours, rtol=1e-5, atol=0)
    assert both[0] < both[1] < math.log(10)


def test_averaging_at_n_times_the_rate_is_splash() -> None:
    splash = losses([0.02], Splash(sync_every=5))
    torch.testing.assert_close(splash, losses([0.04], LocalSGD(sync_every=5)), rtol=1e-5, atol=0)


def test_shards_share_out_all_examples_and_every_pass_has_each_once() -> None:
    passes = [
        torch.cat(list(shard), 1)
        for shard in (shards(3, 12, batch_size=2)(rank, 2) for rank in (0, 1))
        for _ in range(2)
    ]
    for seed in range(3):
        first, again, other, _ = (sorted(each[seed].tolist()) for each in passes)
        assert first == again
        assert sorted(first + other) == list(range(12))


def test_the_examples_of_a_seed_alone_are_those_that_it_has_among_others() -> None:
    data = shards(3, 12, batch_size=2)
    for rank in (0, 1):
        among = data(rank, 2).indices
        for seed in range(3):
            alone = one_seed(data, seed)(rank, 2)
            assert torch.equal(alone.indices, among[seed : seed + 1])
            assert alone.batch_size == 2


def test_replicas_that_rotate_columns_are_one_that_takes_their_turns_in_order() -> None:
    inside, _ = blocks()
    rates = (0.05, 0.1)
    rotated = walk(
        factorise(rates, 1),
        Rotation(sync_every=BATCHES_A_BLOCK),
        lambda rank, n: Turns(inside, [rank]),
        num_replicas=REPLICAS,
        num_rounds=2,
    )
    in_order = walk(
        factorise(rates, 1),
        LocalSGD(sync_every=BATCHES_A_BLOCK * REPLICAS),
        lambda rank, n: Turns(inside, range(REPLICAS)),
        num_rounds=2,
    )
    torch.testing.assert_close(rotated.values, in_order.values, rtol=1e-12, atol=0)
    assert rotated.values[-1, 0] < rotated.values[0, 0]


def test_known_ratings_are_as_many_in_all_blocks_and_none_is_held_out() -> None:
    inside, (rows, columns) = blocks()
    known = [each for row in inside for each in row]
    assert {len(each[0]) for each in known} == {BATCH * len(OwnRows(known[0]))}
    rows = torch.cat([rows, *(each[0] for each in known)])
    columns = torch.cat([columns, *(each[1] for each in known)])
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == len(rows) == ROWS * COLUMNS


TRACE = Trace(
    steps=torch.tensor([0, 10, 20, 30]),
    values=torch.tensor([[4.0, 4.0], [3.0, 2.0], [1.0, 2.5], [0.5, math.inf]]),
)


def test_the_best_rate_of_each_time_is_what_is_read_off() -> None:
    assert TRACE.best.tolist() == [4.0, 2.0, 1.0, 0.5]
    assert (TRACE.at(20), TRACE.steps_to(2.0), TRACE.steps_to(0.1)) == (1.0, 10.0, math.inf)
    assert (TRACE.best_at(10), TRACE.best_at(20)) == (1, 0)
    slower = TRACE.part(slice(0, 1))
    assert TRACE.gain_on(slower, 2.0) == 2.0
    assert TRACE.gain_on(slower, 0.1) == 0.0
    assert math.isinf(TRACE.gain_on(TRACE.part(slice(1, 2)), 0.5))
    assert times(2.0) == "2.0 times"
    assert "it does not get there" in times(0.0)
    assert "the other does not" in times(math.inf)
    assert TRACE.curve("ours")["y"].tolist() == [2.0, 1.0, 0.5]


def test_the_bus_fitted_to_two_gpus_lets_two_groups_of_two_win_on_four() -> None:
    bus = multi_gpu.fitted_bus()
    days = multi_gpu.DAYS
    two = multi_gpu.predicted_days(days["1"], 2, multi_gpu.NUM_PARAMS, bus)
    assert two == pytest.approx(days["2, data"], rel=1e-3)
    assert multi_gpu.run(1).claims[1].kept


def test_what_is_found_is_shown_and_kept(tmp_path: Path) -> None:
    claim = Claim(says="faster", published="10 times", ours="2.0 times", kept=False, why="Small.")
    curves = pd.DataFrame({"curve": ["a", "a"], "x": [1, 2], "y": [0.5, math.inf]})
    found = Found(claims=(claim,), curves=curves, x="steps", y="loss")
    told = output.everything(found, {"paper": "splash", "command": "python -m jobs.reproduce"})
    output.write("Splash", found, told, tmp_path)
    kept = json.loads((tmp_path / "paper_splash.json").read_text())
    assert kept["claims"][0]["ours"] == "2.0 times"
    assert kept["curves"]["a"][0] == [1.0, 0.5]
    assert "10 times" in (tmp_path / "paper_splash.html").read_text()
    console = Console(width=120)
    with console.capture() as shown:
        console.print(output.table("Splash", found))
    assert all(part in shown.get() for part in ("faster", "10 times", "no", "Small."))


def test_every_paper_is_a_module_of_its_name() -> None:
    assert all(find_spec(f"jobs.reproduction.papers.{name}") for name in PAPERS)
