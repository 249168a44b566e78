"""The page of a comparison: one HTML file to open anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dashboards import comparison, page
from jobs.comparison import statistics
from jobs.comparison.budget import Budget
from jobs.comparison.methods import METHODS
from parle_ray.console.config import Config

NOTES = (
    "Mean ± standard deviation over the seeds, and the 95 % bootstrap interval of the mean. "
    "minus DDP's: mean of the differences seed by seed to Ray Train with DDP, their interval, and "
    "how often chance would give a mean as low (exact test of the signs, one-sided). "
    "lr: chosen on held-out training examples; * is the lowest or highest rate tried. train: "
    "seconds of training, mean; sent: by all processes together. to DDP's error: seconds of "
    "training, and the part of the budget, until the error that Ray Train with DDP ends with, "
    "where reached."
)
"""Under the table, in the terminal and on the page."""


def write(
    config: Config,
    budget: Budget,
    everything: Mapping[str, Any],
    cells: pd.DataFrame,
    rows: pd.DataFrame,
    out: Path,
) -> None:
    """Write the page.

    Args:
        config: the task.
        budget: of each run.
        everything: of `summary.json`.
        cells: the table as people read it.
        rows: of `store.frame`, runs that spend the whole budget.
        out: the file.
    """
    summary = pd.DataFrame(everything["summary"])
    times = pd.DataFrame(everything["time_to"])
    titles = {name: METHODS[name].title for name in METHODS if name in set(summary["method"])}
    means = statistics.curves(rows)
    page.write(
        f"{config.model.name} on {config.data.name}: {len(titles)} methods, the same budget",
        [
            f"{budget.gradients:,} gradients of single examples for each run, as "
            f"{budget.num_replicas} replicas would spend it on {budget.steps:,} mini-batches of "
            f"{budget.batch_size}; seeds {everything['seeds']}. "
            + ", ".join(f"{name} {value}" for name, value in everything["machine"].items()),
            everything["command"],
            comparison.errors(summary, titles),
            cells,
            NOTES,
            *(comparison.curves(means, against, titles) for against in comparison.AXES),
            "Seconds of training until a method (row) first had the mean final error of another "
            "(column); in brackets how many of the seeds had it, where not all.",
            _times(times, titles),
            "Final error of a method (row) minus that of another (column), in points, mean of the "
            "differences seed by seed, and p, the exact one-sided test that the row's is lower.",
            _pairs(pd.DataFrame(everything["pairs"]), titles),
            *_lengths(pd.DataFrame(everything["lengths"]), titles),
            *_searched(everything["search"]),
        ],
        out,
    )


def _times(times: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A row a method, a column a rival."""
    found = {
        (method, rival): _when(row)
        for (method, rival), row in times.set_index(["method", "rival"]).iterrows()
    }
    return pd.DataFrame(
        {"method": title, **{titles[r]: found.get((name, r), "") for r in titles}}
        for name, title in titles.items()
    )


def _pairs(pairs: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """A row a method, a column a rival."""
    found = {
        (row.method, row.rival): f"{100 * row.difference:+.2f}, p {row.p:.2g}"
        for row in pairs.itertuples()
    }
    return pd.DataFrame(
        {"method": title, **{titles[r]: found.get((name, r), "") for r in titles}}
        for name, title in titles.items()
    )


def _lengths(lengths: pd.DataFrame, titles: Mapping[str, str]) -> list[Any]:
    """What runs of other lengths come to, if there are any."""
    if set(lengths["length"]) == {1.0}:
        return []
    told = pd.DataFrame(
        {
            "method": titles[row.method],
            "part of the budget": f"{row.length:g}",
            "test error, %": f"{100 * row.error:.2f} ({100 * row.low:.2f}, {100 * row.high:.2f})",
            "train, s": f"{row.train_s:.1f}",
            "part of DDP's seconds": "-"
            if pd.isna(row.ratio)
            else f"{row.ratio:.2f} ({row.ratio_low:.2f}, {row.ratio_high:.2f})",
            "has DDP's final error": "yes" if row.reaches else "",
        }
        for row in lengths.itertuples()
        if row.method in titles
    )
    text = "Runs of parts of the budget, each with a whole schedule; DDP's seconds: of all of it."
    return [comparison.frontier(lengths, titles), text, told]


def _when(row: pd.Series) -> str:
    if not row["reached"]:
        return "never"
    reached, seeds = int(row["reached"]), int(row["seeds"])
    some = "" if reached == seeds else f" ({reached} of {seeds})"
    return f"{row['train_s']:.1f}{some}"


def _searched(search: Sequence[Mapping[str, Any]]) -> list[str | pd.DataFrame]:
    if not search:
        return ["No learning rate was searched: all have the same."]
    told = pd.DataFrame(
        {
            "method": METHODS[row["method"]].title,
            "lr": f"{row['lr']:g}",
            "error, %": "diverged" if row["error"] is None else f"{100 * row['error']:.2f}",
            "loss": "" if row["loss"] is None else f"{row['loss']:.4f}",
            "chosen": "yes" if row["chosen"] else "",
        }
        for row in search
    )
    text = "The search: error and loss on held-out training examples; the lowest was taken."
    return [text, told]
