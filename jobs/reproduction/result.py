"""What became of an experiment, beside what was published."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from jobs.reproduction.experiments import DEPARTURES, Experiment


def of_run(reports: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """A run in a few numbers: errors in %, at each evaluation, at the end and at the best.

    Args:
        reports: of the rounds, in order.
        seed: of the run.
    """
    seen = [report for report in reports if not pd.isna(report.get("evaluated_round"))]
    errors = {int(report["evaluated_round"]): 100 * float(report["error"]) for report in seen}
    return {
        "seed": seed,
        "rounds": int(reports[-1]["round"]),
        "errors": errors,
        "last": errors[max(errors)],
        "best": min(errors.values()),
        "train_s": sum(float(report["round_s"]) for report in reports),
    }


def summary(
    name: str, experiment: Experiment, data: str, scale: float, runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All that is kept, as JSON has it."""
    told = pd.DataFrame(runs)
    return {
        "experiment": name,
        "title": experiment.title,
        "data": data,
        "scale": scale,
        "published": dict(experiment.errors),
        "convention": experiment.convention,
        "departs": [*DEPARTURES, *filter(None, [experiment.departs])],
        "runs": [dict(run) for run in runs],
        **{
            f"{which}_{what}": float(value)
            for which in ("last", "best")
            for what, value in (
                ("mean", told[which].mean()),
                ("std", told[which].std(ddof=1) if len(told) > 1 else 0.0),
            )
        },
    }


def table(found: Mapping[str, Any], num_replicas: int) -> Table:
    """For the terminal; a stand-in or a shorter run is named, not compared."""
    shown = Table(title=found["title"], title_justify="left", caption_justify="left")
    shown.add_column("")
    shown.add_column("test error, %", justify="right")
    for method, error in found["published"].items():
        shown.add_row(f"{method}, published", f"{error:.2f}")
    how = f"Parle here, n = {num_replicas}, {found['data']}, scale {found['scale']:g}"
    for which, when in (("last", "at the end"), ("best", "at its best")):
        mean, std = found[f"{which}_mean"], found[f"{which}_std"]
        shown.add_row(f"{how}, {when}", f"{mean:.2f} ± {std:.2f}")
    lines = [f"The published errors are {found['convention']}.", *found["departs"]]
    shown.caption = "\n".join(lines)
    return shown
