"""The figures of `flatness` as a table: a row a measure, a column a run."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from rich.table import Table

Figures = Mapping[str, Any]


def table(runs: Mapping[str, Figures]) -> Table:
    """Runs side by side; what only some of them have is left open in the others."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("")
    for name in runs:
        shown.add_column(name, justify="right", overflow="fold")
    columns = [_rows(told) for told in runs.values()]
    for label in dict.fromkeys(label for column in columns for label in column):
        shown.add_row(label, *(column.get(label, "") for column in columns))
    return shown


def _rows(told: Figures) -> dict[str, str]:
    """Label -> figure; an estimate is its mean and the spread of what was drawn."""
    rows = {
        "strategy, round": f"{told['strategy']}, {told['round']}",
        "parameters, their length": f"{told['num_params']:,}, {told['norm']:.4g}",
        f"loss on {told['num_examples']:,} training examples": f"{told['loss']:.4g}",
        "error": _percent(told["error"]),
    }
    for rise in told["rise"]:
        r = f"along directions, r = {rise['radius']:g}"
        rows[f"loss {r}"] = _rise(rise["loss"])
        rows[f"error {r}"] = f"{100 * rise['error']['mean']:+.2f} %"
    top = told["top_eigenvalue"]
    rows["largest eigenvalue of the Hessian"] = f"{top['value']:.4g} ± {top['residual']:.2g}"
    rows["its trace"] = _estimate(told["trace"])
    for near in told["smoothed"]:
        rows[f"loss smoothed, gamma = {near['gamma']:g}"] = _estimate(near["loss"])
        rows[f"local entropy, gamma = {near['gamma']:g}"] = f"{near['local_entropy']:.4g}"
    if told["distances"]:
        rows["replicas: distance to the master"] = f"{fmean(told['distances']):.4g}"
    if told["overlaps"]:
        rows["replicas: overlap"] = f"{fmean(told['overlaps']):.6f}"
    return rows | _evaluated(told["evaluated"])


def _evaluated(told: Figures) -> dict[str, str]:
    """Held-out errors, of whatever was evaluated."""
    if "error" not in told["master"]:
        return {}
    rows = {"held-out error: master": _percent(told["master"]["error"])}
    if "replicas" in told:
        each = [replica["error"] for replica in told["replicas"]]
        rows["held-out error: replicas, mean"] = _percent(fmean(each))
        rows["held-out error: mean of the replicas"] = _percent(told["mean"]["error"])
        rows["held-out error: their ensemble"] = _percent(told["ensemble"]["error"])
    return rows


def _estimate(told: Figures) -> str:
    return f"{told['mean']:.4g} ± {told['std']:.2g}"


def _rise(told: Figures) -> str:
    return f"{told['mean']:+.4g} ± {told['std']:.2g}"


def _percent(part: float) -> str:
    return f"{100 * part:.2f} %"
