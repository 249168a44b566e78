"""`python -m jobs.sensitivity` without Ray: the grid, its budget, and what is made of the runs."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dashboards.sensitivity import errors
from jobs import sensitivity
from jobs.comparison.settings import read_varied
from jobs.comparison.store import Run, Store
from jobs.comparison.varied import DEFAULT, GRID, Varied, grid
from parle_ray.schedules import Geometric


def run_of(error: float, *, diverged: bool = False) -> Run:
    evaluation = {"gradients": 1, "train_s": 0.0, "bytes_sent": 0, "error": error, "test_loss": 1.0}
    return Run(evaluations=[evaluation], diverged=diverged)


def test_one_value_of_each_field_is_the_default_and_the_rest_move_that_field_alone() -> None:
    cases = list(grid(0.1, 1))
    for field in GRID:
        assert sum(case.is_default for case in cases if case.field == field) == 1
    for case in cases:
        differ = {k for k in GRID if getattr(case.strategy, k) != getattr(DEFAULT, k)}
        assert differ == set() if case.is_default else {case.field}
    assert len({case.key for case in cases}) == len(cases) - len(GRID) + 1


def test_gamma_moves_where_it_starts_and_rho_as_a_whole() -> None:
    moved = Varied(field="gamma", value=0.25, lr=0.1, seed=0).strategy
    assert moved.gamma == Geometric(25.0, 1.0)  # type: ignore[attr-defined]
    moved = Varied(field="rho", value=4.0, lr=0.1, seed=0).strategy
    assert moved.rho == 16.0  # type: ignore[attr-defined]


def test_all_spend_the_same_gradients_and_see_no_test_image() -> None:
    setup = read_varied(["--scale", "0.8"], "").setup
    for case in grid(0.1, 1):
        walk, sync_every = setup.walk(case), case.strategy.steps(0)
        short = abs(walk.gradients - setup.budget.gradients)
        assert short <= walk.workers * walk.batch_size * sync_every / 2  # half a round
        config = setup.configure(case)
        assert config.data.held_out == setup.held_out
        assert config.strategy == case.strategy


def fill(folder: Path) -> list[str]:
    """A finished grid of two seeds: every error 10 %, or 12 %; rho x 4 is two points worse."""
    line = ["--seeds", "2", "--out", str(folder), "--report"]
    settings = read_varied(line, "")
    store = Store(folder, settings.shared)
    for case in grid(0.1, 2):
        far = (case.field, case.value) == ("rho", 4.0)
        error = 0.10 + 0.02 * (case.seed % 2) + 0.02 * far
        store.keep(case, run_of(error, diverged=(case.field, case.value) == ("outer_lr", 4.0)))
    return line


def test_a_grid_leaves_a_table_its_spreads_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sensitivity.main(fill(tmp_path)) == 0
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["spread"]["rho"] == pytest.approx(0.02)
    assert told["spread"]["alpha"] == pytest.approx(0.0)
    lost = next(r for r in told["rows"] if (r["field"], r["value"]) == ("outer_lr", 4.0))
    assert (lost["diverged"], lost["error"]) == (2, None)
    page = (tmp_path / "report.html").read_text()
    assert page.count("plotly-graph-div") == 1
    assert "25 (default)" in capsys.readouterr().out


def test_the_figure_keeps_what_is_far_off_at_its_edge_with_its_number() -> None:
    near = [0.100, 0.101, 0.102, 0.103, 0.104, 0.100, 0.101, 0.102]
    seen = pd.Series([*near, 0.15, 0.88, None])
    told = {"field": "alpha", "default": False, "error": seen, "low": seen, "high": seen}
    (trace,) = errors(pd.DataFrame({**told, "value": range(len(seen))}), "").data
    assert list(trace.text) == ["" for _ in near] + ["15.0", "88.0", "diverged"]
    assert max(trace.y) == trace.y[-1] < 13.0
