"""Reports are made from run folders alone, and ask nobody for anything."""

import json
import re
from pathlib import Path

import pytest

from dashboards import figures, report


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of four rounds, evaluated twice, one replica of two joining late."""
    folder = tmp_path / "my <run>"
    folder.mkdir()
    lines = []
    for round in range(1, 5):
        line = {"round": round, "step": 25 * round, "loss": 1 / round, "distance": 0.1}
        line |= {"gamma": 100.0, "rho": 1.0, "round_s": 0.5, "stall_s": 0.01}
        line |= {"replica/0/loss": 1.0} | ({"replica/1/loss": 2.0} if round > 2 else {})
        if round % 2 == 0:
            line |= {"error": 0.5 / round, "accuracy": 1 - 0.5 / round, "evaluated_round": round}
        lines.append(json.dumps(line) + "\n")
    (folder / "result.json").write_text("".join(lines))
    return folder


def test_the_error_stands_at_the_steps_of_the_rounds_that_were_evaluated(run: Path) -> None:
    (curve,) = figures.error(figures.read([run])).data
    assert list(curve.x) == [50, 100]
    assert list(curve.y) == pytest.approx([25.0, 12.5])


def test_every_figure_has_a_title_and_named_axes(run: Path) -> None:
    for figure in figures.ALL:
        layout = figure(figures.read([run])).layout
        assert layout.title.text
        assert layout.xaxis.title.text
        assert layout.yaxis.title.text


def test_a_report_is_one_file_that_fetches_nothing(run: Path, tmp_path: Path) -> None:
    page = report.write([run], tmp_path / "report.html").read_text()
    assert "my &lt;run&gt;" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        report.main([str(tmp_path)])
    assert end.value.code == 2
    assert "is no run folder: it has no result.json" in capsys.readouterr().err
