"""The cells of docs/quickstart.ipynb run in order, and say what they should."""

import ast
import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

NOTEBOOK = json.loads((Path(__file__).parents[2] / "docs" / "quickstart.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_without_what_a_run_of_it_leaves() -> None:
    assert NOTEBOOK["nbformat"] == 4
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in CODE)


@pytest.mark.nightly
def test_the_cells_run_and_end_with_figures(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    shown = [value for cell in CODE if (value := run(cell, names)) is not None]
    said = capsys.readouterr().out
    assert "the same bits: True" in said
    assert names["result"].metrics["accuracy"] > 0.9
    *figures, table = shown
    assert len(figures) == 3
    assert all(isinstance(figure, go.Figure) and figure.data for figure in figures)
    assert len(table) == 5


def run(cell: dict[str, Any], names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, if that is an expression, as a notebook shows it."""
    tree = ast.parse("".join(cell["source"]))
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(
            ast.Assign([ast.Name("_", ast.Store())], last.value), last
        )
    exec(compile(ast.fix_missing_locations(tree), "cell", "exec"), names)
    return names.get("_") if isinstance(last, ast.Expr) else None
