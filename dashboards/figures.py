"""The figures of a run or of several, in Plotly; one function, one figure."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from parle_ray.metrics import UNITS
from parle_ray.runs.reports import read as read_reports
from parle_ray.runs.storage import open_folder

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Okabe and Ito's, which colour-blind people can tell apart."""

Runs = Mapping[str, pd.DataFrame]
"""Name of a run -> its reports, one row a round."""


def read(folders: Iterable[str | Path]) -> dict[str, pd.DataFrame]:
    """The reports of run folders, by the folders' names; a running one as far as it is.

    A folder may be a URI, such as `s3://bucket/runs/mine`.
    """
    runs = map(open_folder, folders)
    return {run.name: pd.DataFrame(read_reports(run)) for run in runs}


def error(runs: Runs) -> go.Figure:
    """Test error of the master against the mini-batches that each replica walked."""
    figure = empty("Error of the master", "error, %")
    for i, (name, reports) in enumerate(runs.items()):
        told = reports[reports["evaluated_round"].notna()]
        per_round = reports["step"].iloc[0] / reports["round"].iloc[0]
        _line(figure, name, told["evaluated_round"] * per_round, 100 * told["error"], i)
    return figure


def loss(runs: Runs) -> go.Figure:
    """Training loss, mean of the replicas; the thin lines are single replicas."""
    figure = empty("Training loss", "loss")
    for i, (name, reports) in enumerate(runs.items()):
        for column in reports.filter(regex=r"^replica/\d+/loss$"):
            _line(figure, column, reports["step"], reports[column], i, thin=True)
        _line(figure, name, reports["step"], reports["loss"], i)
    return figure


def distance(runs: Runs) -> go.Figure:
    """How far the replicas stand from the master."""
    figure = empty("Distance of the replicas to the master", "||x^a - x|| / ||x||")
    for i, (name, reports) in enumerate(runs.items()):
        _line(figure, name, reports["step"], reports["distance"], i)
    return figure


def coupling(runs: Runs) -> go.Figure:
    """gamma and rho of the first run, which all usually share."""
    figure = empty("Scope gamma and inverse coupling rho", "value (log)")
    reports = next(iter(runs.values()))
    for i, name in enumerate(name for name in ("gamma", "rho") if name in reports):
        _line(figure, name, reports["step"], reports[name], i)
    return figure.update_yaxes(type="log")


def times(runs: Runs) -> go.Figure:
    """What a round takes, and what of it a replica waits for the exchange."""
    figure = empty("Time of a round, and the part spent waiting", "seconds (log)")
    for i, (name, reports) in enumerate(runs.items()):
        _line(figure, f"{name}: round", reports["step"], reports["round_s"], i)
        _line(figure, f"{name}: waiting", reports["step"], reports["stall_s"], i, thin=True)
    return figure.update_yaxes(type="log")


ALL = (error, loss, distance, coupling, times)


def empty(title: str, y: str, x: str = UNITS["step"]) -> go.Figure:
    """A figure in our style, with nothing in it yet."""
    return go.Figure(
        layout={
            "title": title,
            "template": "plotly_white",
            "height": 420,
            "xaxis": {"title": x},
            "yaxis": {"title": y},
            "legend": {"orientation": "h", "y": -0.25},
            "margin": {"t": 50, "r": 20},
        }
    )


def _line(
    figure: go.Figure, name: str, x: pd.Series, y: pd.Series, i: int, *, thin: bool = False
) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="lines",
        line={"color": COLOURS[i % len(COLOURS)], "width": 1 if thin else 2.5},
        opacity=0.4 if thin else 1.0,
        showlegend=not thin,
    )
