"""`python -m jobs.compare` without Ray: budget, order, search, statistics, files, and the loop."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import compare
from jobs.comparison import output, statistics
from jobs.comparison.budget import Budget
from jobs.comparison.cases import SEARCH_SEED, Case, Setup, candidates, finals
from jobs.comparison.methods import METHODS, Exchange
from jobs.comparison.recorded import evaluations
from jobs.comparison.search import choose, told
from jobs.comparison.settings import read
from jobs.comparison.store import Run, Store, frame
from jobs.comparison.tasks import CONFIGS, configuration, make_setup
from parle_ray.console.config import ModelConfig
from parle_ray.errors import Diverged, InputError
from parle_ray.strategies import STRATEGIES
from tests.comparison import case, rows, run_of

FOLDER = Path(compare.__file__).parent / "comparison"
RATES = (0.03, 0.1, 0.3)


@cache
def setup() -> Setup:
    """A perceptron on the digits, 2 rounds of 25 mini-batches for each of 3 replicas."""
    config = replace(configuration("digits"), model=ModelConfig(name="mlp"))
    return make_setup(config, 0.08, quick=False)


def test_every_strategy_of_the_project_is_compared() -> None:
    compared = {type(m.how.strategy) for m in METHODS.values() if isinstance(m.how, Exchange)}
    assert compared | {STRATEGIES["sgd"]} == set(STRATEGIES.values())


@pytest.mark.parametrize("name", METHODS)
@given(n=st.integers(1, 8), rounds=st.integers(1, 400))
def test_every_method_spends_the_same_gradients(name: str, n: int, rounds: int) -> None:
    budget = Budget(num_replicas=n, batch_size=128, steps=25 * rounds)
    how = METHODS[name].how
    walk = how.walk(budget)
    assert walk.workers in (1, n)
    # To half of the least that it can spend: a mini-batch, or a round of them.
    least = how.strategy.steps(0) if isinstance(how, Exchange) else 1
    short = abs(walk.gradients - budget.gradients)
    assert short <= walk.workers * walk.batch_size * least / 2


def test_a_batch_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(InputError, match=r"raise data\.batch_size"):
        Budget(num_replicas=3, batch_size=2, steps=1).walk(workers=3)


def test_methods_take_turns_seed_by_seed_in_an_order_that_changes() -> None:
    cases = finals(dict.fromkeys(METHODS, 0.1), 3)
    by_seed = [[c.method for c in cases if c.seed == seed] for seed in range(3)]
    assert [c.seed for c in cases] == sorted(c.seed for c in cases)
    assert all(sorted(order) == sorted(METHODS) for order in by_seed)
    assert len({tuple(order) for order in by_seed}) == 3
    assert cases == finals(dict.fromkeys(reversed(METHODS), 0.1), 3)


def test_the_search_gives_all_methods_the_same_and_never_sees_the_test_set() -> None:
    tried = candidates(METHODS, RATES)
    assert len(tried) == 3 * len(METHODS)
    assert {c.seed for c in tried} == {SEARCH_SEED}
    for searched in tried:
        assert setup().configure(searched).data.held_out == 287  # a fifth of 1,437
    assert setup().configure(case("parle")).data.held_out is None


def test_a_configuration_has_the_walk_the_rate_and_the_strategy_of_its_method() -> None:
    ddp = setup().configure(Case(method="ray_train_ddp", lr=0.3, seed=2))
    assert (ddp.data.batch_size, ddp.num_replicas, ddp.num_rounds) == (42, 3, 152)
    assert ddp.data.fraction == pytest.approx(1 / 3)
    assert (ddp.optimizer.init_args["lr"], ddp.seed) == (0.3, 2)  # type: ignore[attr-defined]
    ours = setup().configure(case("parle"))
    assert (ours.data.batch_size, ours.data.fraction, ours.num_rounds) == (42, 1.0, 6)
    whole = setup().configure(case("parle_whole"))
    assert (whole.data.batch_size, whole.data.fraction, whole.num_rounds) == (128, 1.0, 2)
    alone = setup().configure(case("parle_1"))
    assert (alone.data.batch_size, alone.num_replicas, alone.num_rounds) == (128, 1, 6)
    apart = setup().configure(case("sgd_ensemble"))
    assert (apart.data.batch_size, apart.data.fraction, apart.num_rounds) == (42, 1.0, 152)


def test_the_lowest_held_out_error_is_chosen_then_the_lowest_loss() -> None:
    tried = candidates(["a"], RATES)
    lower_loss = dict(zip(tried, [run_of(0.2), run_of(0.1), run_of(0.1, loss=0.4)], strict=True))
    assert choose(lower_loss) == {"a": 0.3}
    rows = told(lower_loss, choose(lower_loss))
    assert [row["chosen"] for row in rows] == [False, False, True]
    assert rows[2]["at_edge"]


def test_a_candidate_that_diverged_is_not_chosen_and_none_left_is_an_error() -> None:
    tried = candidates(["a"], (0.1, 0.3))
    lost = Run(evaluations=[], diverged=True)
    assert choose({tried[0]: run_of(0.9), tried[1]: lost}) == {"a": 0.1}
    assert told({tried[1]: lost}, {})[0]["error"] is None
    with pytest.raises(Diverged, match="every learning rate of the search diverged"):
        choose(dict.fromkeys(tried, lost))


def test_a_run_that_is_kept_is_not_missing_and_is_read_as_it_was(tmp_path: Path) -> None:
    cases = [case("parle"), case("diloco")]
    Store(tmp_path, {"scale": 1}).keep(cases[0], run_of(0.1))
    again = Store(tmp_path, {"scale": 1})
    assert again.missing(cases) == [cases[1]]
    assert again.read(cases) == {cases[0]: run_of(0.1)}


def test_a_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    Store(tmp_path, {"config": {"data": {"name": "digits", "root": None}}, "n": 3})
    with pytest.raises(InputError, match=r"other settings \(config.data.name\); name another"):
        Store(tmp_path, {"config": {"data": {"name": "mnist"}}, "n": 3})


def test_a_run_of_a_part_of_the_budget_has_a_schedule_and_a_file_of_its_own() -> None:
    half = setup().configure(case("parle", length=0.5))
    assert (half.num_rounds, half.evaluate_every) == (3, 1)
    assert setup().walk(case("parle", length=0.5)).steps == 75
    ddp = setup().configure(case("ray_train_ddp", length=0.5))
    assert ddp.num_rounds == 76, "of 152"
    assert case("parle").key == "parle_lr0.1_seed0"
    assert case("parle", length=0.5).key == "parle_lr0.1_seed0_length0.5"
    assert {c.length for c in candidates(["parle"], RATES, 0.25)} == {0.25}
    made = finals({"parle": 0.1, "diloco": 0.1}, 1, (0.5, 1.0))
    assert sorted((c.method, c.length) for c in made) == [
        ("diloco", 0.5),
        ("diloco", 1.0),
        ("parle", 0.5),
        ("parle", 1.0),
    ]


def test_lengths_are_parts_of_the_budget_and_all_of_it_is_always_among_them() -> None:
    told = read(["--lengths", "0.5,0.25", "--search_length", "0.25"], "")
    assert (told.lengths, told.search_length) == ((0.25, 0.5, 1.0), 0.25)
    assert (read([], "").lengths, read([], "").search_length) == ((1.0,), 1.0)


def fill(folder: Path, seeds: int = 2) -> list[str]:
    """A finished comparison of two methods in a folder; the arguments that report it."""
    line = ["--methods", "parle,ray_train_ddp", "--out", str(folder), "--report"]
    settings = read(line, "")
    store = Store(folder, settings.shared)
    for searched in candidates(settings.methods, settings.setup.rates):
        store.keep(searched, run_of(searched.lr))
    for final in finals(dict.fromkeys(settings.methods, 0.01), seeds, (0.5, 1.0)):
        store.keep(final, run_of(0.5, 0.2 + 0.1 * final.seed + 0.05 * (final.method == "parle")))
    return line


def summary_of(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return told


def test_runs_of_parts_of_the_budget_are_in_all_that_a_comparison_leaves(tmp_path: Path) -> None:
    assert compare.main([*fill(tmp_path), "--lengths", "0.5"]) == 0
    assert set(pd.read_parquet(tmp_path / "results.parquet")["length"]) == {0.5, 1.0}
    told = summary_of(tmp_path)
    assert len(told["lengths"]) == 4
    assert {(row["method"], row["p"]) for row in told["pairs"]} == {
        ("parle", 1.0),
        ("ray_train_ddp", 0.25),
    }
    page = (tmp_path / "report.html").read_text()
    assert page.count("plotly-graph-div") == 5
    assert "part of the budget" in page


def test_a_comparison_leaves_parquet_json_and_a_page_that_fetches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(fill(tmp_path)) == 0
    kept = pd.read_parquet(tmp_path / "results.parquet")
    assert len(kept) == 2 * 2 * 2, "a row a method, seed and evaluation"
    assert (set(kept["length"]), len(summary_of(tmp_path)["lengths"])) == ({1.0}, 2)
    summary = summary_of(tmp_path)
    assert summary["seeds"] == [0, 1]
    assert {"torch", "ray", "python"} <= set(summary["machine"])
    assert [row["lr"] for row in summary["search"] if row["chosen"]] == [0.01, 0.01]
    assert summary["summary"][0]["error"] == pytest.approx(0.25)
    page = (tmp_path / "report.html").read_text()
    assert page.count("plotly-graph-div") == 4
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    shown = capsys.readouterr().out
    assert "0.01*" in shown, "the lowest rate tried"


def test_a_rate_that_is_given_is_that_of_all_and_nothing_is_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*fill(tmp_path), "--lr", "0.01"]) == 0
    summary = summary_of(tmp_path)
    assert summary["search"] == []
    assert {row["lr"] for row in summary["summary"]} == {0.01}
    assert "No learning rate was searched" in (tmp_path / "report.html").read_text()
    assert "0.01*" not in capsys.readouterr().out


def test_the_table_says_who_is_better_by_how_much_and_when(tmp_path: Path) -> None:
    cells = output.cells(
        statistics.summarise(rows(), "ray_train_ddp"), statistics.time_to(rows()), ["parle"]
    ).set_index("method")
    ours = cells.loc["Parle"]
    assert ours["test error, %"] == "18.00 ± 11.31"
    assert ours["minus DDP's"].startswith("-7.00 (")
    assert ours["to DDP's error"] == "1.50 (1.50, 1.50) after 50 % (1 of 2)"
    assert ours["lr"] == "0.1*"


def test_bits_per_byte_are_kept_and_shown_where_a_task_has_them() -> None:
    reports: list[dict[str, float | None]] = [{"round": 1, "round_s": 1.0, "bytes_sent": 8}]
    walk = Budget(num_replicas=2, batch_size=8, steps=5).walk(workers=2, sync_every=5)
    metrics = {"accuracy": 0.5, "test_loss": 1.4, "bits_per_byte": 2.02}
    run = Run(evaluations=evaluations(reports, {1: metrics}, walk, 5), fit_s=1.0)
    kept = frame({case("parle"): run, case("ray_train_ddp"): run})
    cells = output.cells(statistics.summarise(kept, None), statistics.time_to(kept), [])
    assert list(cells["bits/byte"]) == ["2.020", "2.020"]
    assert "bits_per_byte" not in rows()


def test_a_comparison_on_texts_has_adamw_and_holds_out_512_of_them() -> None:
    texts = make_setup(configuration("bytes_lm"), 0.1, quick=False)
    assert (texts.held_out, texts.rates[2]) == (512, 0.001)
    searched = texts.configure(candidates(["parle"], texts.rates)[0])
    assert searched.optimizer.class_path == "torch.optim.AdamW"  # type: ignore[attr-defined]
    assert searched.optimizer.init_args["lr"] == 0.0001  # type: ignore[attr-defined]


MISTAKES = {
    "--data digit": ["there is no digit.yaml", "'digits'"],
    "--data cifar10_allcnn_sgd": ["its strategy is SGD", "name a task of Parle"],
    "--methods parle,lbfgs": ["no method 'lbfgs'", "entropy_sgd"],
    "--scale 0": ["--scale must be > 0"],
    "--scale much": ["--scale: must be a number"],
    "--seeds 0": [">= 1, got '0'"],
    "--lengths 0.5,2": ["--lengths", "got '2'", "write --lengths 0.5"],
    "--search_length none": ["--search_length", "got 'none'"],
    "--sedes 1": ["--sedes", "'--seeds'"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_message_and_status_2(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(line.split()) == 2
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1
    for part in MISTAKES[line]:
        assert part in told.err


def test_a_report_of_nothing_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(["--report", "--out", str(tmp_path)]) == 2
    assert "leave --report out" in capsys.readouterr().err


def test_quick_is_three_methods_two_replicas_two_rates_and_one_seed_unless_told_otherwise() -> None:
    quick = read(["--quick"], "")
    assert (len(quick.methods), quick.seeds, len(quick.setup.rates)) == (3, 1, 2)
    assert quick.setup.budget == Budget(num_replicas=2, batch_size=128, steps=250)
    timed = read(["--quick", "--evaluations", "1"], "").setup
    assert timed.configure(case("parle")).evaluate_every == 20, "after the last round alone"
    told = read(["--quick", "--seeds", "2", "--num_replicas", "3", "--methods", "parle"], "")
    assert (told.methods, told.seeds, told.setup.budget.num_replicas) == (("parle",), 2, 3)


def test_the_tasks_that_are_named_are_there() -> None:
    assert {"digits", "fashion_mnist", "bytes_lm"} <= {file.stem for file in CONFIGS.glob("*.yaml")}


def test_a_file_of_the_comparison_is_short_enough_to_be_read() -> None:
    for path in [*FOLDER.glob("*.py"), Path(compare.__file__)]:
        assert len(path.read_text().splitlines()) <= 200, path.name
