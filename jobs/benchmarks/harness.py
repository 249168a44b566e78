"""What all benchmarks share: what they are, interleaved repeats, medians and spreads."""

import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Run = Callable[[], Mapping[str, float]]
"""One repeat of a contestant: quantity -> value."""


class Unavailable(Exception):
    """A contestant cannot run here; the message says what is missing, and stands in its row."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Contestants on the same problem.

    Attributes:
        name: the problem.
        contestants: name -> one repeat of it.
        bases: the contestants that the others are held against.
    """

    name: str
    contestants: Mapping[str, Run]
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is compared, and how.

    Attributes:
        title: what is compared, in a line.
        quantities: quantity -> what it is, with its unit; the first goes into the picture.
        cases: all of them take turns in every repeat.
        repeats: how often each contestant runs.
        against: how contestants are held against a base.
        surroundings: entered around all repeats, such as a cluster.
    """

    title: str
    quantities: Mapping[str, str]
    cases: list[Case]
    repeats: int
    against: Literal["ratio", "difference"] = "ratio"
    surroundings: Callable[[], AbstractContextManager[None]] = nullcontext


def measure(benchmark: Benchmark, say: Callable[[str], None]) -> pd.DataFrame:
    """All samples: columns repeat, case, contestant, quantity, value and note.

    The contestants take turns, A B A B, so that what else the machine does hits all of them. One
    that cannot run, or fails, has a note instead of values, and is not asked again.
    """
    rows: list[dict[str, Any]] = []
    out: set[tuple[str, str]] = set()
    for repeat in range(benchmark.repeats):
        for case in benchmark.cases:
            for contestant, run in case.contestants.items():
                if (case.name, contestant) in out:
                    continue
                say(f"repeat {repeat + 1} of {benchmark.repeats}: {case.name}: {contestant}")
                row = {"repeat": repeat, "case": case.name, "contestant": contestant, "note": ""}
                try:
                    values = run()
                except Exception as error:
                    out.add((case.name, contestant))
                    failed = not isinstance(error, Unavailable)
                    if failed:
                        traceback.print_exc()
                    note = f"failed: {type(error).__name__}: {error}" if failed else str(error)
                    rows.append(row | {"quantity": "", "value": None, "note": note})
                    continue
                rows += [row | {"quantity": name, "value": values[name]} for name in values]
    return pd.DataFrame(rows).astype({"value": float})


def summarise(benchmark: Benchmark, samples: pd.DataFrame) -> pd.DataFrame:
    """Median and spread of every contestant, and the same of it against each base.

    Repeats are paired: a ratio is taken within each repeat, then the median of the ratios.
    """
    rows: list[dict[str, Any]] = []
    for case in benchmark.cases:
        mine = samples[samples["case"] == case.name]
        for contestant in case.contestants:
            theirs = mine[mine["contestant"] == contestant]
            note = "; ".join(note for note in theirs["note"].unique() if note)
            row: dict[str, Any] = {"case": case.name, "contestant": contestant, "note": note}
            known = [name for name in benchmark.quantities if name in set(theirs["quantity"])]
            if not known:
                rows.append(row | {"quantity": "", "base": ""})
            for quantity in known:
                values = _by_repeat(theirs, quantity)
                row |= {"quantity": quantity, **_spread("", values)}
                relative = {
                    base: _against(
                        benchmark.against,
                        values,
                        _by_repeat(mine[mine["contestant"] == base], quantity),
                    )
                    for base in case.bases
                    if base != contestant
                }
                found = {base: value for base, value in relative.items() if len(value)}
                rows += [row | {"base": b, **_spread("relative_", v)} for b, v in found.items()]
                if not found:
                    rows.append(row | {"base": ""})
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


COLUMNS = ["case", "contestant", "quantity", "median", "low", "high", "base"]
COLUMNS += ["relative_median", "relative_low", "relative_high", "note"]


def _by_repeat(samples: pd.DataFrame, quantity: str) -> pd.Series:
    return samples[samples["quantity"] == quantity].set_index("repeat")["value"]


def _against(how: str, values: pd.Series, base: pd.Series) -> pd.Series:
    return (values / base if how == "ratio" else values - base).dropna()


def _spread(prefix: str, values: pd.Series) -> dict[str, float]:
    return {
        f"{prefix}median": float(values.median()),
        f"{prefix}low": float(values.min()),
        f"{prefix}high": float(values.max()),
    }
