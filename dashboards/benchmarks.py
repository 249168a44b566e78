"""Figures of comparisons: a point for every contestant, with its spread; a curve for each."""

import pandas as pd
import plotly.graph_objects as go

from dashboards.figures import COLOURS, empty

DASHES = ["solid", "dash", "dot"]
"""More curves than colours: those after them take the same colours with other lines."""


def comparison(title: str, axis: str, rows: pd.DataFrame) -> go.Figure:
    """Contestants from top to bottom; one colour for each case and what it is held against.

    Args:
        title: what was compared.
        axis: what the values are.
        rows: columns label, group, median, low and high; the bars reach from low to high.
    """
    figure = empty(title, "", axis).update_yaxes(autorange="reversed", type="category")
    for i, (group, points) in enumerate(rows.groupby("group", sort=False)):
        figure.add_scatter(
            x=points["median"],
            y=points["label"],
            name=group,
            mode="markers",
            marker={"color": COLOURS[i % len(COLOURS)], "size": 11},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": points["high"] - points["median"],
                "arrayminus": points["median"] - points["low"],
            },
        )
    if (rows["median"] > 0).all():
        figure.update_xaxes(type="log")
    return figure


def curves(points: pd.DataFrame, x: str, y: str) -> go.Figure:
    """Both axes logarithmic.

    Args:
        points: columns curve, x and y.
        x, y: what they are.
    """
    figure = empty("", y, x).update_layout(height=520)
    for i, (name, rows) in enumerate(points.groupby("curve", sort=False)):
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        figure.add_scatter(
            x=rows["x"], y=rows["y"], name=name, mode="lines", line={"color": colour, "dash": dash}
        )
    return figure.update_xaxes(type="log").update_yaxes(type="log")
