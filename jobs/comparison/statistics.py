"""What is made of the runs: means, spreads, intervals, and who reached whose error when."""

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.comparison.store import EXTRA

RESAMPLES = 10_000
CONFIDENCE = 0.95


def bootstrap(values: Sequence[float], *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % percentile interval of the mean (Efron and Tibshirani 1993, section 13.3).

    With three values it is little more than their range: it can be no wider.

    Args:
        values: of the seeds, `(num_seeds,)`; one alone has no spread, and is both ends.
    """
    given = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(0).choice(given, size=(resamples, len(given)))
    means: NDArray[np.float64] = drawn.mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    """With its interval; of nothing, NaN."""
    return (float(np.mean(values)), *bootstrap(values)) if values else (np.nan, np.nan, np.nan)


def sign_test(gaps: Sequence[float]) -> float:
    """How often the mean would be as low or lower if each gap's sign were left to chance.

    Fisher's randomisation test of pairs, one-sided and exact (The Design of Experiments, 1935,
    section 21): with five seeds 1/32 at least, and no less than 0.05 with four.

    Args:
        gaps: a method's errors minus the base's, seed by seed.
    """
    given = np.abs(np.asarray(gaps, dtype=np.float64))
    signs = np.array(list(product((-1.0, 1.0), repeat=len(given))))
    return float((signs @ given <= sum(gaps) + 1e-12).mean())


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    """The runs that spend all of the budget."""
    return rows[rows["length"] == 1.0]


def finals(rows: pd.DataFrame) -> pd.DataFrame:
    """The last evaluation of each run; those that diverged are left out."""
    sound, run = rows[~rows["diverged"].astype(bool)], ["method", "length", "seed"]
    return sound.sort_values("gradients").groupby(run, sort=False).tail(1).sort_values(run)


def summarise(rows: pd.DataFrame, base: str | None) -> pd.DataFrame:
    """A row a method, best first: final error, its interval, and the difference to a base.

    Differences are taken seed by seed, over the seeds that both have.

    Args:
        rows: of `store.frame`.
        base: the method that the others are held against; None for none.
    """
    last = finals(rows)
    errors = {m: told.set_index("seed")["error"] for m, told in last.groupby("method")}
    extra = [name for name in EXTRA if name in last]
    found = []
    for method, told in last.groupby("method"):
        low, high = bootstrap(list(told["error"]))
        row = {
            "method": method,
            "lr": told["lr"].iloc[0],
            "seeds": len(told),
            "error": told["error"].mean(),
            "std": told["error"].std(ddof=1) if len(told) > 1 else 0.0,
            "low": low,
            "high": high,
            **told[["gradients", "train_s", "fit_s", "bytes_sent", *extra]].mean(),
        }
        row |= dict.fromkeys(("difference", "difference_low", "difference_high", "p"))
        if base in errors and method != base:
            gaps = list((errors[str(method)] - errors[base]).dropna())
            if gaps:
                row["difference"], row["difference_low"], row["difference_high"] = _mean(gaps)
                row["p"] = sign_test(gaps)
        found.append(row)
    return pd.DataFrame(found).sort_values(["error", "method"]).reset_index(drop=True)


def time_to(rows: pd.DataFrame) -> pd.DataFrame:
    """When each method first had the final error of each: one row for every two methods.

    Columns: method, rival, target (the rival's mean final error), seeds, reached (of them), and
    means over the seeds that reached it of train_s, gradients, part: gradients as a part of
    all that the method spent, and ratio: seconds as a part of the rival's whole run with the same
    seed, with its bootstrap interval; NaN where none did.
    """
    last = finals(rows)
    targets = last.groupby("method")["error"].mean()
    took = {rival: told.set_index("seed")["train_s"] for rival, told in last.groupby("method")}
    found = []
    for method, walked in rows[~rows["diverged"].astype(bool)].groupby("method"):
        for rival, target in targets.items():
            low = walked[walked["error"] <= target + 1e-12].sort_values("gradients")
            first = low.groupby("seed").head(1)
            ratios = list((first.set_index("seed")["train_s"] / took[rival]).dropna())
            ratio, ratio_low, ratio_high = _mean(ratios)
            found.append(
                {
                    "method": method,
                    "rival": rival,
                    "target": target,
                    "seeds": walked["seed"].nunique(),
                    "reached": len(first),
                    "train_s": first["train_s"].mean(),
                    "gradients": first["gradients"].mean(),
                    "part": first["gradients"].mean() / walked["gradients"].max(),
                    "ratio": ratio,
                    "ratio_low": ratio_low,
                    "ratio_high": ratio_high,
                }
            )
    return pd.DataFrame(found)


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Whose final error is lower: one row for every two methods.

    Columns: method, rival, seeds that both have, difference of the method's error to the rival's,
    mean over the seeds, with its interval low, high, and p (see `sign_test`).
    """
    columns = ["method", "rival", "seeds", "difference", "low", "high", "p"]
    by_seed = finals(rows).pivot(index="seed", columns="method", values="error")
    found = []
    for method, rival in permutations(by_seed.columns, 2):
        gaps = list((by_seed[method] - by_seed[rival]).dropna())
        if not gaps:
            continue
        found.append((method, rival, len(gaps), *_mean(gaps), sign_test(gaps)))
    return pd.DataFrame(found, columns=columns)


def lengths(rows: pd.DataFrame, base: str) -> pd.DataFrame:
    """What shorter runs come to, each with a schedule of its own: a row a method and length.

    Columns: method, length, seeds, error, low, high (mean of the final errors, and its interval),
    reaches (whether that mean is no higher than the base's in its whole runs), train_s, and ratio:
    seconds as a part of the base's whole run with the same seed, with ratio_low, ratio_high.
    """
    last = finals(rows)
    all_of_it = whole(last[last["method"] == base]).set_index("seed")
    target = all_of_it["error"].mean()
    found = []
    for (method, length), told in last.groupby(["method", "length"]):
        low, high = bootstrap(list(told["error"]))
        ratios = list((told.set_index("seed")["train_s"] / all_of_it["train_s"]).dropna())
        ratio, ratio_low, ratio_high = _mean(ratios)
        error = float(told["error"].mean())
        found.append(
            {
                "method": method,
                "length": length,
                "seeds": len(told),
                "error": error,
                "low": low,
                "high": high,
                "reaches": bool(error <= target + 1e-12),
                "train_s": told["train_s"].mean(),
                "ratio": ratio,
                "ratio_low": ratio_low,
                "ratio_high": ratio_high,
            }
        )
    return pd.DataFrame(found)


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds at each number of gradients that all seeds of a method have."""
    sound = rows[~rows["diverged"].astype(bool)]
    seeds = sound.groupby("method")["seed"].nunique()
    grouped = sound.groupby(["method", "gradients"])
    means = grouped[["train_s", "bytes_sent", "error"]].mean()
    means["low"], means["high"] = grouped["error"].min(), grouped["error"].max()
    means["seeds"] = grouped["seed"].nunique()
    told = means.reset_index()
    return told[told["seeds"] == told["method"].map(seeds)].reset_index(drop=True)
