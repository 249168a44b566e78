"""The figure of `python -m jobs.sensitivity`: a panel a hyper-parameter."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures import COLOURS, empty

MULTIPLES = ("gamma", "rho", "outer_lr")
"""Hyper-parameters whose values are multiples of the default."""


def errors(summary: pd.DataFrame, title: str) -> go.Figure:
    """Held-out error, mean over the seeds and its interval; the ring is the default.

    What is far above the others, or diverged, stands at the upper edge with its figure.

    Args:
        summary: columns field, value, default, error, low and high (parts of one); a row a value.
        title: of the figure.
    """
    fields = list(dict.fromkeys(summary["field"]))
    style = empty(title, "", "")
    figure = make_subplots(rows=1, cols=len(fields), shared_yaxes=True, horizontal_spacing=0.02)
    figure.update_layout(style.layout, showlegend=False, height=420)
    edge = _edge(summary["error"])
    for i, field in enumerate(fields, start=1):
        told = summary[summary["field"] == field].sort_values("value")
        inside = told["error"] < edge
        figure.add_scatter(
            x=told["value"].map("{:g}".format),
            y=100 * told["error"].where(inside, edge),
            text=[
                "" if seen else "diverged" if pd.isna(error) else f"{100 * error:.1f}"
                for seen, error in zip(inside, told["error"], strict=True)
            ],
            textposition="bottom center",
            mode="lines+markers+text",
            line={"color": COLOURS[0]},
            marker={
                "size": 11,
                "symbol": [
                    "triangle-up" if not seen else "circle-open" if own else "circle"
                    for seen, own in zip(inside, told["default"], strict=True)
                ],
                "line": {"width": 3},
            },
            error_y={
                "type": "data",
                "symmetric": False,
                "array": 100 * (told["high"] - told["error"]).where(inside),
                "arrayminus": 100 * (told["error"] - told["low"]).where(inside),
            },
            row=1,
            col=i,
        )
        unit = ", times the default" if field in MULTIPLES else ""
        figure.update_xaxes(type="category", title=f"{field}{unit}", row=1, col=i)
    figure.update_yaxes(style.layout.yaxis, title=None)
    return figure.update_yaxes(title="held-out error, %", row=1, col=1)


def _edge(errors: pd.Series) -> float:
    """What is higher is far from most: six times the quartiles' distance above the upper one."""
    low, high = errors.quantile(0.25), errors.quantile(0.75)
    return float(high + max(6 * (high - low), 0.1 * high))
