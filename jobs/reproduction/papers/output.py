"""What a paper's experiment leaves behind: the table, the JSON, the page with its picture."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from dashboards import page
from dashboards.benchmarks import curves
from jobs.reproduction.papers.found import Found

COLUMNS = {"says": "the paper says", "published": "its figure", "ours": "here", "kept": "so here"}


def everything(found: Found, surroundings: Mapping[str, Any]) -> dict[str, Any]:
    """All that is kept, as JSON has it.

    Args:
        found: what came of it.
        surroundings: paper, seeds, command and machine.
    """
    return {
        **surroundings,
        "claims": [asdict(claim) for claim in found.claims],
        "x": found.x,
        "y": found.y,
        "curves": {
            str(name): points[["x", "y"]].to_numpy().tolist()
            for name, points in found.curves.groupby("curve", sort=False)
        },
    }


def table(title: str, found: Found) -> Table:
    """For the terminal."""
    shown = Table(title=title, title_justify="left", caption_justify="left", show_lines=True)
    for heading in COLUMNS.values():
        shown.add_column(heading)
    for row in cells(found).itertuples(index=False):
        shown.add_row(*row)
    shown.caption = "\n".join(dict.fromkeys(claim.why for claim in found.claims if claim.why))
    return shown


def cells(found: Found) -> pd.DataFrame:
    """The claims as people read them."""
    rows = [asdict(claim) | {"kept": "yes" if claim.kept else "no"} for claim in found.claims]
    return pd.DataFrame(rows)[list(COLUMNS)].rename(columns=COLUMNS)


def write(title: str, found: Found, told: Mapping[str, Any], folder: Path) -> None:
    """`paper_<name>.json` with everything, `paper_<name>.html` with table and picture."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"paper_{told['paper']}"
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    page.write(
        title,
        [
            told["command"],
            cells(found),
            *dict.fromkeys(claim.why for claim in found.claims if claim.why),
            curves(found.curves, found.x, found.y),
        ],
        folder / f"{name}.html",
    )
