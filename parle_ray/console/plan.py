"""`python -m parle_ray plan`: rounds and stalls on a cluster of any size, and what to set."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from parle_ray.console.measure import measure, measure_codecs
from parle_ray.console.plan_config import MEASURED, PlanConfig, read_plan
from parle_ray.console.summary import size
from parle_ray.errors import StorageError
from parle_ray.planning import (
    Prediction,
    Recommendation,
    Ring,
    Scenario,
    predict,
    recommend,
    ring,
)
from parle_ray.planning.recommend import ENOUGH, SHARDS, SYNC_EVERY

WIDTH = 110
"""Of the table, in characters; a narrower terminal breaks its lines."""


@dataclass(frozen=True)
class Row:
    """One n: the strategy, and data-parallel SGD on the same machines."""

    plan: Prediction
    sgd: Ring


def plan(argv: Sequence[str], prog: str) -> None:
    """Predict rounds, stalls and speed for 1 to thousands of replicas, and say what to set."""
    config = read_plan(argv, f"{prog} plan", plan.__doc__ or "")
    here = {name for name in MEASURED if getattr(config, name) is None}
    config = measure(config)
    codecs = measure_codecs(config)
    scenarios = [config.scenario(n, codecs) for n in _numbers(config.largest)]
    console = Console(width=max(WIDTH, Console().width))
    console.print(_header(scenarios[-1], config, here), highlight=False, soft_wrap=True)
    rows = [Row(predict(scenario), ring(scenario)) for scenario in scenarios]
    console.print(_table(rows))
    tried: dict[str, Any] = {
        "sync_every": SYNC_EVERY if config.sync_every is None else [config.sync_every],
        "codecs": codecs,
        "shards": SHARDS if config.shards is None else [config.shards],
        "trees": (False, True) if config.tree is None else [config.tree],
    }
    advice = recommend(scenarios[-1], **tried)
    console.print("RECOMMENDATION " + _sentence(advice), highlight=False, soft_wrap=True)
    if config.json is not None:
        _write(Path(config.json), scenarios[-1], rows, advice)


def _numbers(largest: int) -> list[int]:
    powers = [2**i for i in range(largest.bit_length()) if 2**i < largest]
    return [*powers, largest]


def _header(s: Scenario, config: PlanConfig, here: set[str]) -> str:
    def number(name: str, text: str) -> str:
        return f"{text} (measured here)" if name in here else text

    sharded = f"{s.shards} shard{'s' if s.shards > 1 else ''}"
    return "  " + " · ".join(
        [
            f"{type(s.strategy).__name__} L={s.strategy.sync_every}",
            number("num_params", f"{s.num_params:,} parameters"),
            number("step_s", f"{1e3 * s.step_s:.3g} ms a step"),
            f"batch {s.batch_size}",
            f"{config.link}, {config.latency_ms:g} ms",
            f"{s.crowd} a node of {s.cores_per_node:g} cores",
            f"{config.compression or 'no'} compression",
            sharded + (", tree" if s.tree else ""),
        ]
    )


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        *("n", "nodes", "round", "samples/s", "speed-up", "stalled", "bytes/step/node"),
        *("SGD samples/s", "overlapped", "SGD bytes"),
    ):
        table.add_column(title, justify="right")
    alone = rows[0].plan.samples_per_s
    for p, sgd in ((row.plan, row.sgd) for row in rows):
        table.add_row(
            f"{p.num_replicas:,}",
            f"{p.nodes:,}",
            f"{p.round_s:.4g} s",
            f"{p.samples_per_s:,.0f}",
            f"{p.samples_per_s / alone:,.2f}",
            f"{100 * p.stall_share:.1f} %",
            size(p.bytes_per_step),
            f"{sgd.samples_per_s:,.0f}",
            f"{sgd.overlapped_samples_per_s:,.0f}",
            size(sgd.bytes_per_step),
        )
    return table


def _flags(advice: Recommendation) -> dict[str, str]:
    s = advice.scenario
    flags = {"strategy.sync_every": f" {s.strategy.sync_every}"}
    if advice.compression != "none":
        flags["compression"] = f" {advice.compression}"
    if s.shards > 1:
        flags["shards"] = f" {s.shards}"
    if s.tree:
        flags["tree"] = f" {s.crowd}"
    return flags


def _sentence(advice: Recommendation) -> str:
    p = advice.prediction
    told = " ".join(f"--{name}{value}" for name, value in _flags(advice).items())
    what = (
        f"the shortest rounds that lose less than {100 * ENOUGH:.0f} % to the exchange"
        if advice.enough
        else f"nothing tried loses less than {100 * ENOUGH:.0f} % to the exchange, this least"
    )
    return (
        f"for {p.num_replicas:,} replicas: {told}: {what} "
        f"({100 * p.lost_share:.1f} %, {p.samples_per_s:,.0f} samples/s)"
    )


def _write(path: Path, largest: Scenario, rows: list[Row], advice: Recommendation) -> None:
    """All figures, as JSON."""
    s = advice.scenario
    content: dict[str, Any] = {
        "scenario": asdict(largest) | {"strategy": type(largest.strategy).__name__},
        "rows": [asdict(row.plan) | {"sgd": asdict(row.sgd)} for row in rows],
        "recommendation": {
            "sync_every": s.strategy.sync_every,
            "compression": advice.compression,
            "shards": s.shards,
            "tree": s.tree,
            "enough": advice.enough,
            **asdict(advice.prediction),
        },
    }
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"json: {path} cannot be written: {error.strerror}") from error
