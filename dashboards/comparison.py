"""The figures of `python -m jobs.compare`: one function, one figure."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from dashboards.benchmarks import DASHES, comparison
from dashboards.figures import COLOURS, empty

AXES = {
    "train_s": "seconds of training",
    "gradients": "gradients of single examples, all replicas together",
    "bytes_sent": "bytes sent, all processes together (log)",
}
"""What errors are drawn against."""


def errors(summary: pd.DataFrame, titles: Mapping[str, str]) -> go.Figure:
    """The final errors, best first, with their intervals.

    Args:
        summary: of `jobs.comparison.statistics.summarise`.
        titles: name of a method -> how it is shown.
    """
    points = pd.DataFrame(
        {
            "label": summary["method"].map(titles),
            "group": "mean over the seeds, 95 % bootstrap interval",
            "median": 100 * summary["error"],
            "low": 100 * summary["low"],
            "high": 100 * summary["high"],
        }
    )
    figure = comparison("Final test error", "error, %", points)
    return figure.update_xaxes(type="linear").update_layout(height=160 + 32 * len(points))


def curves(told: pd.DataFrame, against: str, titles: Mapping[str, str]) -> go.Figure:
    """Test error against one of `AXES`, mean over the seeds.

    Args:
        told: of `jobs.comparison.statistics.curves`.
        against: a column of it.
        titles: name of a method -> how it is shown; its order gives colours, the same in each
            figure.
    """
    figure = empty(
        f"Test error against {AXES[against].removesuffix(' (log)')}", "error, %", AXES[against]
    )
    shown = told[told["bytes_sent"] > 0] if against == "bytes_sent" else told
    _lines(figure, shown.sort_values("gradients"), against, titles)
    return figure.update_xaxes(type="log" if against == "bytes_sent" else "linear")


def frontier(told: pd.DataFrame, titles: Mapping[str, str]) -> go.Figure:
    """Where runs end that are planned shorter or longer: final error against seconds.

    Args:
        told: of `jobs.comparison.statistics.lengths`.
        titles: as in `curves`.
    """
    figure = empty("Final error of runs of each length", "error, %", "seconds of training (log)")
    _lines(figure, told.sort_values("length"), "train_s", titles)
    return figure.update_xaxes(type="log")


def _lines(figure: go.Figure, told: pd.DataFrame, x: str, titles: Mapping[str, str]) -> None:
    """The errors of each method against a column."""
    for i, (method, title) in enumerate(titles.items()):
        points = told[told["method"] == method]
        if points.empty:
            continue
        figure.add_scatter(
            x=points[x],
            y=100 * points["error"],
            name=title,
            mode="lines+markers",
            line={
                "color": COLOURS[i % len(COLOURS)],
                "dash": DASHES[i // len(COLOURS) % len(DASHES)],
                "width": 2,
            },
            marker={"size": 5},
        )
    figure.update_layout(height=520)
    if (told["error"] > 0).all():
        figure.update_yaxes(type="log", title="error, % (log)")
