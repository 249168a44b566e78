"""The figures of a run or of several, in Plotly; one function, one figure."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.cards import REPLICA_LOSS, ranks
from dashboards.thin import shares, thin
from parle_ray.metrics import UNITS

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Okabe and Ito's, which colour-blind people can tell apart."""
LOST = [[0.0, "#DCEAF4"], [1.0, "#D55E00"]]
"""From a replica that answered to one that did not."""

AXIS = {
    "gridcolor": "#E8E8E8",
    "linecolor": "#888",
    "zeroline": False,
    "automargin": True,
}
SHORT = 300.0
"""From the lowest to the highest value of a logarithmic axis with labels between the powers."""
FEW = 60
"""Points that are marked, each by itself."""

Runs = Mapping[str, pd.DataFrame]
"""Name of a run -> its reports, one row a round."""


def error(runs: Runs) -> go.Figure:
    """Test error of the master against the mini-batches that each replica walked."""
    figure = empty("Error of the master", "error on what was not trained on, %")
    for i, (name, reports) in enumerate(_having(runs, "error")):
        told = reports[reports["error"].notna()]
        steps = told["step"] / told["round"] * told.get("evaluated_round", told["round"])
        _line(figure, name, steps, 100 * told["error"], i, marks=len(told) < FEW)
    return figure


def loss(runs: Runs) -> go.Figure:
    """Training loss, mean of the replicas; the thin lines are single replicas."""
    figure = empty("Training loss", "loss, mean of a round (log)")
    alone = len(runs) == 1
    for i, (name, reports) in enumerate(_having(runs, "loss")):
        told = "mean of the replicas" if alone else name
        _line(figure, told, reports["step"], reports["loss"], -1 if alone else i)
        _replicas(figure, name, reports, "loss", i, alone=alone)
    return _log(figure)


def distance(runs: Runs) -> go.Figure:
    """How far the replicas stand from the master."""
    text = "sqrt(mean ||x^a - x||^2) / ||x||, no unit"
    figure = empty("Distance of the replicas to the master", text)
    for i, (name, reports) in enumerate(_having(runs, "distance")):
        _line(figure, name, reports["step"], reports["distance"], i)
    return figure.update_yaxes(rangemode="tozero")


def coupling(runs: Runs) -> go.Figure:
    """gamma and rho."""
    figure = empty("Scope gamma and inverse coupling rho", "value, no unit (log)")
    _several(figure, runs, {"gamma": "gamma", "rho": "rho"}, "dash")
    return _log(figure)


def rate(runs: Runs) -> go.Figure:
    """The inner optimiser's learning rate."""
    figure = empty("Learning rate", UNITS["lr"])
    for i, (name, reports) in enumerate(_having(runs, "lr")):
        _line(figure, name, reports["step"], reports["lr"], i)
    return figure


def times(runs: Runs) -> go.Figure:
    """What a round takes, and what of it a replica waits for the exchange."""
    figure = empty("Time of a round, and the part spent waiting", "seconds (log)")
    _several(figure, runs, {"round_s": "round", "stall_s": "stall"}, "dot")
    return _log(figure)


def traffic(runs: Runs) -> go.Figure:
    """What has crossed the object store since the beginning."""
    figure = empty("Bytes sent", "bytes so far, both ways")
    for i, (name, reports) in enumerate(_having(runs, "bytes_sent")):
        _line(figure, name, reports["step"], reports["bytes_sent"].cumsum(), i)
    return figure.update_yaxes(exponentformat="SI", ticksuffix="B", rangemode="tozero")


def strength(runs: Runs) -> go.Figure:
    """Replicas that take part, and faults so far."""
    figure = empty("Replicas alive, and faults so far", "number")
    named = {"replicas_alive": "replicas alive", "faults": "faults"}
    _several(figure, runs, named, "dot", shape="hv")
    return figure.update_yaxes(rangemode="tozero")


def health(runs: Runs) -> go.Figure:
    """Which replica answered in which round: a band of orange is one that was lost."""
    figure = empty("Answers of each replica", "replica")
    labels: list[str] = []
    for name, reports in runs.items():
        found = reports.filter(regex=REPLICA_LOSS.pattern).set_axis(ranks(reports), axis=1)
        if found.empty:
            continue
        silent = shares(found.isna().set_index(reports["step"]))
        figure.add_heatmap(
            x=silent.index,
            y=np.arange(len(labels), len(labels) + len(silent.columns)),
            z=silent.to_numpy().T,
            zmin=0,
            zmax=1,
            colorscale=LOST,
            ygap=6,
            hovertemplate="step %{x}: silent in %{z:.0%} of the rounds<extra></extra>",
            colorbar={"tickvals": [0, 1], "ticktext": ["answered", "silent"], "thickness": 12},
            showscale=not labels,
        )
        labels += [str(rank) if len(runs) == 1 else f"{name}: {rank}" for rank in silent]
    places = list(range(len(labels)))
    return figure.update_yaxes(autorange="reversed", tickvals=places, ticktext=labels)


def walks(runs: Runs) -> go.Figure:
    """What a round takes each replica, without the time that it stands still."""
    figure = empty("Time that each replica walked a round", "seconds (log)")
    for i, (name, reports) in enumerate(runs.items()):
        _replicas(figure, name, reports, "walk_s", i, alone=len(runs) == 1)
    return _log(figure)


ALL = (error, loss, health, strength, distance, coupling, times, walks, traffic, rate)


def empty(title: str, y: str, x: str = UNITS["step"]) -> go.Figure:
    """A figure in our style, with nothing in it yet."""
    return go.Figure(
        layout={
            "title": {"text": title, "x": 0, "xref": "paper", "xanchor": "left"},
            "template": "none",  # Plotly's own take ten times as long as all the rest
            "height": 420,
            "xaxis": AXIS | {"title": {"text": x, "standoff": 8}},
            "yaxis": AXIS | {"title": {"text": y, "standoff": 8}},
            "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
            "margin": {"t": 50, "r": 20, "l": 60, "b": 80},
        }
    )


def _having(runs: Runs, name: str) -> list[tuple[str, pd.DataFrame]]:
    """The runs that tell a metric; with those that do not, so that colours stay the same."""
    nothing = pd.DataFrame(columns=[name, "step", "round"], dtype=float)
    return [(run, reports if name in reports else nothing) for run, reports in runs.items()]


def _replicas(
    figure: go.Figure, name: str, reports: pd.DataFrame, what: str, i: int, *, alone: bool
) -> None:
    """A thin line for each replica, in a colour of its own if its run is shown alone."""
    for rank in ranks(reports):
        told = reports.get(f"replica/{rank}/{what}")
        if told is not None:
            label = f"replica {rank}" if alone else f"{name}: replica {rank}"
            colour = rank if alone else i
            _line(figure, label, reports["step"], told, colour, thin_line=True, named=alone)


def _log(figure: go.Figure) -> go.Figure:
    """With a logarithmic axis that is labelled at 1, 2, 5, or at powers of ten if it is long."""
    values = np.concatenate([[], *(np.asarray(line.y, float) for line in figure.data)])
    seen = values[values > 0]
    short = seen.size and seen.max() / seen.min() < SHORT
    return figure.update_yaxes(type="log", exponentformat="power", dtick="D2" if short else 1)


def _several(
    figure: go.Figure, runs: Runs, named: Mapping[str, str], dash: str, shape: str = "linear"
) -> None:
    """Lines of several metrics under other names, all but the first broken; a run has one colour
    for all, or each has its own if it is alone."""
    for i, (run, reports) in enumerate(runs.items()):
        for j, (what, name) in enumerate(named.items()):
            if what in reports:
                told, colour = (name, j) if len(runs) == 1 else (f"{run}: {name}", i)
                style = dash if j else "solid"
                _line(figure, told, reports["step"], reports[what], colour, dash=style, shape=shape)


def _line(
    figure: go.Figure,
    name: str,
    x: pd.Series,
    y: pd.Series,
    colour: int,
    *,
    dash: str = "solid",
    shape: str = "linear",
    marks: bool = False,
    thin_line: bool = False,
    named: bool = True,
) -> None:
    """A line of at most `thin.MOST` points, broken where nothing was told."""
    rows = thin(y)
    figure.add_scatter(
        x=x.iloc[rows],
        y=y.iloc[rows],
        name=name,
        mode="lines+markers" if marks else "lines",
        line={
            "color": COLOURS[colour % len(COLOURS)],
            "width": 1 if thin_line else 2.5,
            "dash": dash,
            "shape": shape,
        },
        opacity=0.8 if thin_line else 1.0,
        showlegend=named,
    )
