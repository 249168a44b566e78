"""What a benchmark leaves behind: the table, the files, the picture, and the machine it ran on."""

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from rich.table import Table

from dashboards.benchmarks import comparison
from jobs.benchmarks.harness import Benchmark, summarise


def table(benchmark: Benchmark, summary: pd.DataFrame) -> Table:
    """The summary for the terminal: `median [lowest, highest]`."""
    shown = Table(title=benchmark.title, title_justify="left", caption_justify="left")
    shown.caption = "\n".join(f"{name}: {what}" for name, what in benchmark.quantities.items())
    for column in ("contestant", "", "median [low, high]", benchmark.against, "to"):
        shown.add_column(column)
    for case, rows in summary.groupby("case", sort=False):
        shown.add_section()
        shown.add_row(f"[bold]{case}")
        before = ""
        for row in rows.itertuples():
            value = _shown(row.median, row.low, row.high)
            relative = _shown(row.relative_median, row.relative_low, row.relative_high)
            name = "" if row.contestant == before else row.contestant
            shown.add_row(name, row.quantity, value or row.note, relative, row.base)
            before = row.contestant
    return shown


def _shown(median: float, low: float, high: float) -> str:
    if pd.isna(median):
        return ""
    return f"{median:.3g}" + ("" if low == high else f" [{low:.3g}, {high:.3g}]")


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "time": time.strftime("%Y-%m-%d %H:%M"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "ray")},
    }


def write(
    benchmark: Benchmark, name: str, samples: pd.DataFrame, on: dict[str, Any], out: Path
) -> None:
    """`<name>.json` with everything, `<name>.parquet` with the samples, `<name>.html`.

    Args:
        benchmark: what was measured.
        name: of the benchmark.
        samples: of `measure`.
        on: the machine, as it was before.
        out: the folder, made if missing.
    """
    summary = summarise(benchmark, samples)
    out.mkdir(parents=True, exist_ok=True)
    everything = {
        "name": name,
        "title": benchmark.title,
        "command": sys.argv,
        "machine": on,
        "quantities": dict(benchmark.quantities),
        "against": benchmark.against,
        "summary": json.loads(summary.to_json(orient="records")),
        "samples": json.loads(samples.to_json(orient="records")),
    }
    (out / f"{name}.json").write_text(json.dumps(everything, indent=1) + "\n")
    samples.to_parquet(out / f"{name}.parquet")
    figure = picture(benchmark, summary)
    (out / f"{name}.html").write_text(figure.to_html(include_plotlyjs=True))


def picture(benchmark: Benchmark, summary: pd.DataFrame) -> go.Figure:
    """The first quantity: against the bases where there are any, else as it is."""
    first = next(iter(benchmark.quantities))
    rows = summary[summary["quantity"] == first]
    compared = rows[rows["base"] != ""]
    axis, prefix = benchmark.quantities[first], ""
    if len(compared):
        rows, axis, prefix = compared, f"{axis}: {benchmark.against}", "relative_"
    points = pd.DataFrame(
        {part: rows[f"{prefix}{part}"] for part in ("median", "low", "high")}
        | {
            "label": rows["contestant"],
            "group": rows["case"] + (" / " + rows["base"] if prefix else ""),
        }
    )
    return comparison(benchmark.title, axis, points)
