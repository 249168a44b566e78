"""The figure of `python -m jobs.sensitivity`: a panel a hyper-parameter."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures import COLOURS, empty

MULTIPLES = ("gamma", "rho", "outer_lr")
"""Hyper-parameters whose values are multiples of the default."""


def errors(summary: pd.DataFrame, title: str) -> go.Figure:
    """Held-out error, mean over the seeds and its interval; the ring is the default.

    Args:
        summary: columns field, value, default, error, low and high (parts of one); a row a value.
        title: of the figure.
    """
    fields = list(dict.fromkeys(summary["field"]))
    style = empty(title, "", "")
    figure = make_subplots(rows=1, cols=len(fields), shared_yaxes=True, horizontal_spacing=0.02)
    figure.update_layout(style.layout, showlegend=False, height=420)
    for i, field in enumerate(fields, start=1):
        told = summary[summary["field"] == field].dropna(subset="error").sort_values("value")
        figure.add_scatter(
            x=told["value"].map("{:g}".format),
            y=100 * told["error"],
            mode="lines+markers",
            line={"color": COLOURS[0]},
            marker={
                "size": 11,
                "symbol": ["circle-open" if own else "circle" for own in told["default"]],
                "line": {"width": 3},
            },
            error_y={
                "type": "data",
                "symmetric": False,
                "array": 100 * (told["high"] - told["error"]),
                "arrayminus": 100 * (told["error"] - told["low"]),
            },
            row=1,
            col=i,
        )
        unit = ", times the default" if field in MULTIPLES else ""
        figure.update_xaxes(type="category", title=f"{field}{unit}", row=1, col=i)
    figure.update_yaxes(style.layout.yaxis, title=None)
    return figure.update_yaxes(title="held-out error, %", row=1, col=1)
