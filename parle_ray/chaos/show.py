"""The figures of a storm as lines for people."""

from collections.abc import Mapping, Sequence
from typing import Any


def fault_lines(faults: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a fault: what, whom, when, and how long until the run was whole again."""
    lines = []
    for fault in faults:
        whom = "" if fault["rank"] is None else f"replica {fault['rank']}"
        if fault["happened"]:
            seconds = fault["recovery_s"]
            end = "the run ended first" if seconds is None else f"{seconds:6.1f} s"
        else:
            end = f"did not happen: {fault['why_not']}"
        after = f"round {fault['struck_after_round']}"
        lines.append(f"  {fault['kind']:<17} {whom:<10} {after:<10} {end}")
    return lines


def table(told: Mapping[str, Any]) -> list[str]:
    """The whole storm, with the run without faults beside it where there was one."""
    lines = ["", f"  {'fault':<17} {'sent':>6} {'happened':>9} {'longest recovery':>17}"]
    for kind, row in told["by_kind"].items():
        longest = _figure(row["longest_recovery_s"], ".1f", " s")
        lines.append(f"  {kind:<17} {row['sent']:>6} {row['happened']:>9} {longest:>17}")
    happened = sum(row["happened"] for row in told["by_kind"].values())
    lines += ["", f"  faults            {happened} of {len(told['faults'])} happened"]
    lines.append(f"  rounds            {told['rounds']}")
    lines.append(f"  longest pause     {told['longest_pause_s']:.1f} s without a round")
    lines.append(_beside(told, "steps_per_s", ".1f"))
    lines.append(_beside(told, "loss", ".4f"))
    lines.append(_beside(told, "accuracy", ".4f"))
    lines += [f"  broken            {line}" for line in told["broken"] or ["nothing"]]
    return lines


def _beside(told: Mapping[str, Any], name: str, form: str) -> str:
    calm = told[f"{name}_without_faults"]
    without = f"   without faults {_figure(calm, form)}" if calm is not None else ""
    return f"  {name:<17} {_figure(told[name], form)}{without}"


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
