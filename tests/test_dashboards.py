"""Reports are made from run folders alone, and ask nobody for anything."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from dashboards import cards, figures, runs
from dashboards.thin import shares, thin
from parle_ray.cli import COMMANDS, main
from parle_ray.console.commands import _report

NUM_ROUNDS = 4


def reported(round: int, ranks: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """A report as a run writes it; the master is evaluated in even rounds."""
    line = {"round": round, "step": 25 * round, "num_rounds": NUM_ROUNDS, "loss": 1 / round}
    line |= {"distance": 0.1, "gamma": 100.0, "rho": 1.0, "lr": 0.1}
    line |= {"round_s": 0.5, "stall_s": 0.01, "samples_per_s": 1e3, "bytes_sent": 500}
    line |= {"replicas_alive": len(ranks), "faults": 2 - len(ranks)}
    line |= {f"replica/{rank}/loss": 1.0 + rank for rank in ranks}
    line |= {f"replica/{rank}/walk_s": 0.4 for rank in ranks}
    if round % 2 == 0:
        line |= {"error": 0.5 / round, "accuracy": 1 - 0.5 / round, "evaluated_round": round}
    return line


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a run folder of these reports."""

    def make(reports: list[dict[str, Any]], name: str = "my <run>") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "result.json").write_text("".join(json.dumps(r) + "\n" for r in reports))
        return folder

    return make


@pytest.fixture
def run(write: Write) -> Path:
    """A run of four rounds, evaluated twice, whose replica 1 is lost in the third and for good."""
    return write([reported(k, (0, 1) if k < 3 else (0,)) for k in range(1, NUM_ROUNDS + 1)])


def test_the_error_stands_at_the_steps_of_the_rounds_that_were_evaluated(run: Path) -> None:
    (curve,) = figures.error(runs.read([run])).data
    assert list(curve.x) == [50, 100]
    assert list(curve.y) == pytest.approx([25.0, 12.5])


def test_every_figure_has_a_title_named_axes_and_lines_for_each_run(
    run: Path, write: Write
) -> None:
    for folders in ([run], [run, write([reported(2)], "other")]):
        tables = runs.read(folders)
        for figure in figures.ALL:
            drawn = figure(tables)
            assert drawn.layout.title.text
            assert drawn.layout.xaxis.title.text == "mini-batches walked by each replica so far"
            assert drawn.layout.yaxis.title.text
            assert sum(len(line.x) for line in drawn.data) > len(folders), figure.__name__


def test_figures_can_be_drawn_of_a_run_that_does_not_tell_them(write: Write) -> None:
    tables = runs.read([write([{"round": 1, "step": 25}])])
    for figure in figures.ALL:
        assert not sum(len(line.x) for line in figure(tables).data)


def test_a_long_run_is_drawn_by_a_thousand_points_a_line(write: Write) -> None:
    table = pd.DataFrame([reported(2)] * 3500)
    table["round"] = np.arange(1, 3501)
    table["step"] = 25 * table["round"]
    for figure in figures.ALL:
        for line in figure({"long": table}).data:
            assert 400 < len(line.x) <= 1000


@settings(max_examples=10)
@given(
    st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), max_size=200),
    st.integers(4, 60),
)
def test_a_thinned_line_keeps_its_ends_and_extremes(values: list[float], most: int) -> None:
    rows = thin(pd.Series(values, dtype=float), most)
    assert len(rows) <= max(most, 0)
    assert list(rows) == sorted(set(rows))
    if values:
        assert {0, len(values) - 1} <= set(rows)
    if not np.isnan(values).all():
        kept = np.array(values)[rows]
        assert np.nanmax(kept) == np.nanmax(values)
        assert np.nanmin(kept) == np.nanmin(values)


def test_a_gap_of_a_line_is_thinned_but_not_closed() -> None:
    values = pd.Series(np.r_[np.ones(500), np.full(500, np.nan), np.ones(500)])
    assert values.iloc[thin(values, 100)].isna().sum() > 10
    (told,) = shares(values.isna().to_frame(), 10).to_numpy().T
    assert list(told) == pytest.approx([0, 0, 0, 2 / 3, 1, 1, 2 / 3, 0, 0, 0], abs=0.01)


def test_a_lost_replica_is_bad_its_line_ends_and_its_band_says_silent(run: Path) -> None:
    (table,) = runs.read([run]).values()
    first, second = cards.of_replicas(table)
    assert (first.bad, first.value) == (False, "loss 1")
    assert (second.bad, second.value) == (True, "silent for 2 rounds")
    assert [card.bad for card in cards.of_run(table, "finished") if card.title == "replicas"] == [
        True
    ]
    lines = {line.name: line for line in figures.loss({"run": table}).data}
    assert np.isnan(np.array(lines["replica 1"].y, float)).tolist() == [False, False, True, True]
    (bands,) = figures.health({"run": table}).data
    assert bands.z.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]


def test_only_what_is_new_of_a_growing_file_is_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write([reported(1)])
    (tail,) = runs.tails([folder]).values()
    with (folder / "result.json").open("a") as file:
        file.write(json.dumps(reported(2)) + '\n{"round": 3, "st')
    parsed: list[bytes] = []
    parse = runs.reports.parse
    monkeypatch.setattr(runs.reports, "parse", lambda text: parsed.append(text) or parse(text))
    assert tail.look()
    assert list(tail.table["round"]) == [1, 2]
    with (folder / "result.json").open("a") as file:
        file.write('ep": 75}\n')
    assert tail.look()
    assert not tail.look()
    assert list(tail.table["step"]) == [25, 50, 75]
    assert [text.count(b'"step"') for text in parsed] == [1, 1]


def test_a_file_that_was_replaced_is_read_anew(write: Write) -> None:
    folder = write([reported(k) for k in (1, 2, 3)])
    (tail,) = runs.tails([folder]).values()
    draft = folder / "draft"
    draft.write_text("".join(json.dumps(reported(k)) + "\n" for k in (1, 2, 7, 8)))
    os.replace(draft, folder / "result.json")
    assert tail.look()
    assert list(tail.table["round"]) == [1, 2, 7, 8]


def test_a_run_is_running_stopped_or_finished(write: Write, run: Path) -> None:
    young = write([reported(1)], "young")
    old = write([reported(1)], "old")
    os.utime(old / "result.json", (1e9, 1e9))
    assert [tail.state for tail in runs.tails([young, old, run]).values()] == [
        "running",
        "stopped",
        "finished",
    ]


def test_the_runs_of_a_folder_are_found_the_newest_first(tmp_path: Path, write: Write) -> None:
    for name, seconds in (("a", 3e8), ("b", 5e8), ("c", 4e8)):
        os.utime(write([reported(1)], name) / "result.json", (seconds, seconds))
    (tmp_path / "empty").mkdir()
    assert runs.Shelf(tmp_path).names() == ["b", "c", "a"]
    alone = runs.Shelf(tmp_path / "c")
    assert alone.names() == ["c"]
    assert alone.tail("c").look()


def test_a_report_is_one_file_in_the_run_folder_that_fetches_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    page = (run / "report.html").read_text()
    assert "my &lt;run&gt;" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    assert page.count("<div class='card bad'>") == 2
    assert page.count("Plotly.newPlot(") == len(figures.ALL)


def test_several_runs_are_compared_in_a_table(run: Path, write: Write, tmp_path: Path) -> None:
    other, out = write([reported(1)], "other"), tmp_path / "both.html"
    assert main(["report", str(run), str(other), "--out", str(out)]) == 0
    page = out.read_text()
    assert "<td>other</td>" in page
    assert "87.5 %" in page


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("report {empty}", ["no run folder", "result.json"]),
        ("report", ["RUN"]),
        ("report {run} --ot x", ["--ot", "'--out'"]),
        ("live --port x", ["--port", "'x'"]),
        ("live --port 99999", ["99999", "--port"]),
        ("live --prot 3", ["--prot", "'--port'"]),
    ],
)
def test_a_mistake_is_answered_by_one_message_and_status_2(
    command: str,
    named: list[str],
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    words = [word.format(empty=empty, run=run) for word in command.split()]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(name in told for name in named), told


def test_a_run_ends_well_without_its_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = SimpleNamespace(filesystem=LocalFileSystem(), path=str(tmp_path))
    monkeypatch.setitem(COMMANDS, "report", ("no_such_package", ""))
    assert _report(result) is None
    assert "no report: No module named 'no_such_package'" in capsys.readouterr().err
