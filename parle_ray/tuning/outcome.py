"""What a search has found: a table, and all of it as Parquet."""

import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
from ray.tune import ResultGrid
from rich.console import Console
from rich.table import Table

SHOWN = 10
"""Trials in the table; all are in the Parquet file."""
WIDTH = 110
"""Of the table where no terminal has one."""


def frame(found: ResultGrid, names: Sequence[str]) -> pd.DataFrame:
    """A row for each trial, the best first.

    Its columns: the values that were varied, by name; trial, error, best_error, loss, round,
    seconds; failed, the error's last line where there is one.
    """
    rows: list[dict[str, Any]] = []
    for result in map(found.__getitem__, range(len(found))):
        metrics, history = result.metrics or {}, result.metrics_dataframe
        errors = [] if history is None or "error" not in history else history["error"].dropna()
        rows.append(
            {name: (result.config or {}).get(name) for name in names}
            | {name: metrics.get(name) for name in ("error", "loss", "round")}
            | {
                "best_error": min(errors, default=None),
                "seconds": metrics.get("time_total_s"),
                "trial": metrics.get("trial_id"),
                "failed": str(result.error).strip().splitlines()[-1] if result.error else None,
            }
        )
    return pd.DataFrame(rows).sort_values("best_error", ignore_index=True)


def show(trials: pd.DataFrame, names: Sequence[str], title: str) -> None:
    """Print the best of them."""
    table = Table(title=title)
    for column in (*names, "best error, %", "at the end, %", "rounds", "seconds", "trial"):
        table.add_column(column, justify="left" if column in (*names, "trial") else "right")
    for row in trials.head(SHOWN).to_dict("records"):
        table.add_row(
            *(_plain(row[name]) for name in names),
            *(_percent(row[name]) for name in ("best_error", "error")),
            "" if pd.isna(row["round"]) else f"{row['round']:.0f}",
            "" if pd.isna(row["seconds"]) else f"{row['seconds']:.0f}",
            str(row["trial"] if pd.isna(row["failed"]) else row["failed"]),
        )
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(table)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _percent(value: Any) -> str:
    return "" if pd.isna(value) else f"{100 * value:.2f}"
