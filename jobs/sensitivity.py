"""How much the error of Parle depends on its hyper-parameters: `python -m jobs.sensitivity ...`.

Moves one at a time away from its default (`jobs/comparison/varied.py`), with the same budget of
gradients, and scores each run on examples held out of the training set. Killed and run again, it
goes on.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from dashboards import page, sensitivity
from jobs.benchmarks.output import machine
from jobs.comparison.settings import Settings, read_varied
from jobs.comparison.statistics import bootstrap
from jobs.comparison.store import Run, Store
from jobs.comparison.tasks import learning_rate
from jobs.comparison.varied import GRID, Varied, grid
from parle_ray.cli import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _run(read_varied(given, __doc__ or "")))


def _run(settings: Settings) -> int:
    setup, console = settings.setup, Console()
    store = Store(settings.out, settings.shared)
    cases = list(grid(learning_rate(setup.config), settings.seeds))
    if not settings.report:
        # Ray, which neither a report nor a mistake in the arguments needs to wait for
        from jobs.comparison import runs
        from parle_ray.cluster.connect import connect

        connect(setup.config.address, logs=False)
        once = list({case.key: case for case in cases}.values())
        runs.score(setup, store, once, lambda text: console.print(text, style="dim"))
    rows = summarise(store.read(cases))
    write(settings, rows)
    console.print(table(rows))
    console.print(f"{settings.out}/results.parquet, summary.json, report.html", style="dim")
    return 0


def summarise(runs: Mapping[Varied, Run]) -> pd.DataFrame:
    """A row a value: mean held-out error over the seeds, its interval, how many diverged."""
    found = []
    for field, values in GRID.items():
        for value in values:
            told = {c: r for c, r in runs.items() if (c.field, c.value) == (field, value)}
            errors = [run.score[0] for run in told.values() if run.score[0] < float("inf")]
            low, high = bootstrap(errors) if errors else (None, None)
            found.append(
                {
                    "field": field,
                    "value": value,
                    "default": Varied(field=field, value=value, lr=0.0, seed=0).is_default,
                    "seeds": len(told),
                    "diverged": len(told) - len(errors),
                    "error": sum(errors) / len(errors) if errors else None,
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(found)


def spreads(rows: pd.DataFrame) -> dict[str, float]:
    """Field -> highest minus lowest mean error of its values."""
    return {field: float(told.max() - told.min()) for field, told in rows.groupby("field")["error"]}


def table(rows: pd.DataFrame) -> Table:
    """For the terminal."""
    shown = Table(title="Held-out error, %: mean and 95 % interval", title_justify="left")
    for name in ("field", "value", "error", "interval", "seeds", "diverged"):
        shown.add_column(name, justify="left" if name == "field" else "right")
    for row in rows.to_dict("records"):
        shown.add_row(*map(str, cells(row).values()))
    return shown


def cells(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as people read it."""
    there = not pd.isna(row["error"])
    return {
        "field": row["field"],
        "value": f"{row['value']:g}{' (default)' if row['default'] else ''}",
        "error": f"{100 * row['error']:.2f}" if there else "-",
        "interval": f"{100 * row['low']:.2f}, {100 * row['high']:.2f}" if there else "-",
        "seeds": row["seeds"],
        "diverged": row["diverged"] or "",
    }


def write(settings: Settings, rows: pd.DataFrame) -> None:
    """`results.parquet`, `summary.json` and `report.html`."""
    setup, out = settings.setup, settings.out
    rows.to_parquet(out / "results.parquet")
    command = f"python -m jobs.sensitivity {' '.join(sys.argv[1:])}"
    told = {
        "command": command,
        "machine": machine(),
        "settings": settings.shared,
        "seeds": settings.seeds,
        "spread": spreads(rows),
        "rows": json.loads(rows.to_json(orient="records")),
    }
    (out / "summary.json").write_text(json.dumps(told, indent=1) + "\n")
    title = f"Parle's hyper-parameters: {setup.config.model.name} on {setup.config.data.name}"
    text = (
        f"{setup.budget.gradients:,} gradients each, n = {setup.budget.num_replicas}, "
        f"learning rate {learning_rate(setup.config):g}, {settings.seeds} seeds, "
        f"{setup.held_out:,} examples held out. Each panel moves one; the ring is the "
        "default; bars are 95 % intervals of the mean; a triangle is off the scale."
    )
    shown = pd.DataFrame([cells(row) for row in rows.to_dict("records")])
    page.write(
        title, [text, command, sensitivity.errors(rows, title), shown], Path(out) / "report.html"
    )


if __name__ == "__main__":
    sys.exit(main())
