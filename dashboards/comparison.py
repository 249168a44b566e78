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
    for i, (method, title) in enumerate(titles.items()):
        points = told[told["method"] == method].sort_values("gradients")
        if against == "bytes_sent":
            points = points[points["bytes_sent"] > 0]
        if points.empty:
            continue
        figure.add_scatter(
            x=points[against],
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
    return figure.update_xaxes(type="log" if against == "bytes_sent" else "linear")
