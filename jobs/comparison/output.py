"""What a comparison leaves: the table, Parquet, JSON and a page."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from jobs.benchmarks.output import machine
from jobs.comparison import pictures, statistics
from jobs.comparison.cases import Case, Setup
from jobs.comparison.methods import METHODS
from jobs.comparison.search import told
from jobs.comparison.store import Run, frame
from parle_ray.console.summary import size

BASE = "ray_train_ddp"
"""The method that the others are held against."""


def write(
    setup: Setup,
    settings: Mapping[str, Any],
    scored: Mapping[Case, Run],
    chosen: Mapping[str, float],
    finished: Mapping[Case, Run],
    out: Path,
) -> pd.DataFrame:
    """`results.parquet`, `summary.json` and `report.html` in the folder; the summary as `cells`."""
    rows = frame(finished)
    whole = statistics.whole(rows)
    summary = statistics.summarise(whole, BASE)
    told_as = {
        "summary": summary,
        "pairs": statistics.pairs(whole),
        "time_to": statistics.time_to(whole),
        "lengths": statistics.lengths(rows, BASE),
    }
    rows.to_parquet(out / "results.parquet")
    everything = {
        "command": f"python -m jobs.compare {' '.join(sys.argv[1:])}",
        "machine": machine(),
        "settings": settings,
        "gradients_each": setup.budget.gradients,
        "seeds": sorted({case.seed for case in finished}),
        "diverged": sorted(case.key for case, run in finished.items() if run.diverged),
        "search": told(scored, chosen),
        **{name: json.loads(told.to_json(orient="records")) for name, told in told_as.items()},
    }
    (out / "summary.json").write_text(json.dumps(everything, indent=1) + "\n")
    shown = cells(summary, told_as["time_to"], edges(scored, chosen))
    pictures.write(setup.config, setup.budget, everything, shown, whole, out / "report.html")
    return shown


def cells(summary: pd.DataFrame, times: pd.DataFrame, at_edge: Sequence[str]) -> pd.DataFrame:
    """The summary as people read it, one row a method.

    Args:
        summary: of `statistics.summarise`.
        times: of `statistics.time_to`.
        at_edge: methods whose learning rate is the lowest or highest that was tried.
    """
    to_base = times[times["rival"] == BASE].set_index("method")
    found = []
    for row in summary.itertuples():
        name = str(row.method)
        told = {
            "method": METHODS[name].title,
            "test error, %": f"{100 * row.error:.2f} ± {100 * row.std:.2f}",
            "95 % interval": f"{100 * row.low:.2f}, {100 * row.high:.2f}",
            "minus DDP's": "" if pd.isna(row.difference) else _difference(row),
            **({"bits/byte": f"{row.bits_per_byte:.3f}"} if "bits_per_byte" in summary else {}),
            "lr": f"{row.lr:g}{'*' if name in at_edge else ''}",
            "train, s": f"{row.train_s:.1f}",
            "sent": size(row.bytes_sent),
        }
        if name in to_base.index:
            first = to_base.loc[name]
            told["to DDP's error"] = _when(first)
        found.append(told)
    return pd.DataFrame(found)


def table(cells: pd.DataFrame, title: str) -> Table:
    """For the terminal."""
    shown = Table(title=title, title_justify="left", caption=pictures.NOTES, caption_justify="left")
    for i, column in enumerate(cells.columns):
        shown.add_column(str(column), justify="left" if i == 0 else "right")
    for row in cells.fillna("").itertuples(index=False):
        shown.add_row(*map(str, row))
    return shown


def edges(scored: Mapping[Case, Run], chosen: Mapping[str, float]) -> list[str]:
    """The methods whose chosen rate is the lowest or highest that was tried."""
    rows = told(scored, chosen)
    return [str(row["method"]) for row in rows if row["chosen"] and row["at_edge"]]


def _difference(row: Any) -> str:
    low, high = 100 * row.difference_low, 100 * row.difference_high
    return f"{100 * row.difference:+.2f} ({low:+.2f}, {high:+.2f}), p {row.p:.2g}"


def _when(first: pd.Series) -> str:
    if first["reached"] == 0:
        return "never"
    part = (
        f"{first['ratio']:.2f} ({first['ratio_low']:.2f}, {first['ratio_high']:.2f}) "
        f"after {100 * first['part']:.0f} %"
    )
    some = (
        "" if first["reached"] == first["seeds"] else f" ({first['reached']} of {first['seeds']})"
    )
    return part + some
