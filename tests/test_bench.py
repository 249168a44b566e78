"""Benchmarks: what is made of samples, and what a run leaves. No clock decides anything here."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from dashboards.benchmarks import comparison
from dashboards.figures import COLOURS
from jobs import bench
from jobs.benchmarks import harness, output
from jobs.benchmarks.harness import Benchmark, Case, Unavailable

FOLDER = Path(bench.__file__).parent / "benchmarks"


class Clock:
    """A contestant that takes what it is told to take, and notes that it was asked."""

    def __init__(self, name: str, seconds: list[float], asked: list[str]) -> None:
        self._name, self._seconds, self._asked = name, iter(seconds), asked

    def __call__(self) -> Mapping[str, float]:
        self._asked.append(self._name)
        return {"cpu_s": next(self._seconds)}


def absent() -> Mapping[str, float]:
    raise Unavailable("not installed: pip install it")


def broken() -> Mapping[str, float]:
    raise RuntimeError("no route")


def race(asked: list[str], **changes: object) -> Benchmark:
    """Three repeats of two contestants, one rival that is missing and one that fails."""
    contestants: dict[str, harness.Run] = {
        "ours": Clock("ours", [2.0, 9.0, 4.0], asked),
        "bare": Clock("bare", [1.0, 3.0, 4.0], asked),
        "rival": absent,
        "broken": broken,
    }
    case = Case(name="small", contestants=contestants, bases=("bare",))
    given = {"title": "A race", "quantities": {"cpu_s": "CPU time, s"}, "repeats": 3}
    return Benchmark(**(given | {"cases": [case]} | changes))


def quiet(text: str) -> None:
    """Nobody listens."""


def run(benchmark: Benchmark) -> tuple[pd.DataFrame, pd.DataFrame]:
    samples = harness.measure(benchmark, quiet)
    return samples, harness.summarise(benchmark, samples)


def row_of(summary: pd.DataFrame, contestant: str) -> pd.Series:
    (row,) = [row for _, row in summary.iterrows() if row["contestant"] == contestant]
    return row


def test_contestants_take_turns() -> None:
    asked: list[str] = []
    run(race(asked))
    assert asked == ["ours", "bare"] * 3


def test_ratios_are_taken_within_a_repeat_before_their_median() -> None:
    ours = row_of(run(race([]))[1], "ours")
    assert (ours["median"], ours["low"], ours["high"]) == (4.0, 2.0, 9.0)
    # 2/1, 9/3, 4/4: the median of the ratios is 2, the ratio of the medians 4/3.
    relative = ours[["relative_median", "relative_low", "relative_high"]]
    assert list(relative) == [2.0, 1.0, 3.0]
    assert ours["base"] == "bare"


def test_a_base_can_be_taken_away_instead() -> None:
    ours = row_of(run(race([], against="difference"))[1], "ours")
    assert (ours["relative_median"], ours["relative_high"]) == (1.0, 6.0)


def test_who_cannot_run_has_a_row_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    samples, summary = run(race([]))
    assert row_of(summary, "rival")["note"] == "not installed: pip install it"
    assert row_of(summary, "broken")["note"] == "failed: RuntimeError: no route"
    assert len(samples[samples["contestant"] == "broken"]) == 1, "it is not asked again"
    assert capsys.readouterr().err.count("RuntimeError: no route") == 1


def test_without_its_base_a_contestant_still_has_its_values() -> None:
    case = Case(name="x", contestants={"ours": Clock("ours", [2.0], []), "b": absent}, bases=("b",))
    ours = row_of(run(race([], cases=[case], repeats=1))[1], "ours")
    assert (ours["median"], ours["base"]) == (2.0, "")


def test_the_table_shows_median_spread_ratio_and_notes() -> None:
    benchmark = race([])
    console = Console(width=120, record=True, quiet=False, file=None)
    with console.capture() as shown:
        console.print(output.table(benchmark, run(benchmark)[1]))
    text = shown.get()
    assert "A race" in text
    assert "cpu_s: CPU time, s" in text
    assert re.search(r"ours .* cpu_s .* 4 \[2, 9\] .* 2 \[1, 3\] .* bare", text)
    assert re.search(r"rival .* not installed: pip install it", text)


def test_a_run_leaves_a_json_a_parquet_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "_load", lambda name: lambda quick: race([], repeats=2))
    assert bench.main(["update", "--out", str(tmp_path / "new")]) == 1, "a contestant failed"
    told = json.loads((tmp_path / "new" / "update.json").read_text())
    assert {"cpu", "cores", "torch", "ray", "python", "load_average"} <= set(told["machine"])
    assert told["summary"][0]["relative_median"] == 2.5
    assert [s["value"] for s in told["samples"] if s["contestant"] == "bare"] == [1.0, 3.0]
    samples = pd.read_parquet(tmp_path / "new" / "update.parquet")
    assert list(samples.columns) == ["repeat", "case", "contestant", "note", "quantity", "value"]
    page = (tmp_path / "new" / "update.html").read_text()
    assert "A race" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    assert str(tmp_path / "new" / "update.json") in capsys.readouterr().out


def test_the_picture_has_a_colour_a_group_and_bars_from_low_to_high() -> None:
    points = {"label": ["a", "b"], "group": ["x", "y"], "median": [2.0, 4.0]}
    rows = pd.DataFrame(points | {"low": [1.0, 3.0], "high": [5.0, 8.0]})
    first, second = comparison("Title", "ratio", rows).data
    assert [first.marker.color, second.marker.color] == COLOURS[:2]
    assert (first.error_x.array[0], first.error_x.arrayminus[0]) == (3.0, 1.0)


MISTAKES = {
    "": ["which benchmark", "step"],
    "stepp": ["'stepp'", "'step'"],
    "nothing_like_it": ["'nothing_like_it'", "update", "network"],
    "step --quik": ["--quik", "'--quick'"],
    "step --out": ["--out", "argument"],
    "step more": ["more"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_message_and_status_2(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(line.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    for part in MISTAKES[line]:
        assert part in told.err


def test_help_lists_the_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in bench.BENCHMARKS)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_is_there_and_knows_its_bases(name: str, quick: bool) -> None:
    benchmark = bench._load(name)(quick=quick)
    assert benchmark.repeats >= 1
    for case in benchmark.cases:
        assert set(case.bases) <= set(case.contestants)


def test_a_file_of_a_benchmark_is_short_enough_to_be_read() -> None:
    for path in [*FOLDER.glob("*.py"), FOLDER.parent / "bench.py"]:
        assert len(path.read_text().splitlines()) <= 200, path.name
