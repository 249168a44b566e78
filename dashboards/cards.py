"""How a run and its replicas are, in a few words each."""

import math
import re
from dataclasses import dataclass

import pandas as pd

from parle_ray.console.summary import size
from parle_ray.progress import duration

REPLICA_LOSS = re.compile(r"replica/(\d+)/loss")


@dataclass(frozen=True)
class Card:
    """One thing at a glance.

    Attributes:
        title: what it is.
        value: the newest.
        detail: what there is to say beside it.
        bad: something is wrong with it.
    """

    title: str
    value: str
    detail: str = ""
    bad: bool = False


def of_run(reports: pd.DataFrame, state: str) -> list[Card]:
    """How far a run is, how good, how fast.

    Args:
        reports: one row a round; none is fine.
        state: of `dashboards.runs.Tail`.
    """
    if reports.empty:
        return [Card("run", state)]
    last = reports.iloc[-1].dropna()
    rounds, planned = int(last["round"]), last.get("num_rounds")
    of = f" of {int(planned)}" if planned else ""
    cards = [Card(state, f"round {rounds}{of}", _time(reports, planned), state == "stopped")]
    if "accuracy" in reports:
        told = reports.dropna(subset=["accuracy"]).iloc[-1]
        when = int(told.get("evaluated_round", told["round"]))
        cards.append(Card("master", f"{100 * told['accuracy']:.1f} %", f"accuracy, round {when}"))
    cards.append(Card("loss", f"{last['loss']:.4g}", "training, mean of the replicas"))
    if "replicas_alive" in last:
        alive, most = int(last["replicas_alive"]), int(reports["replicas_alive"].max())
        most = max(most, len(ranks(reports)))
        faults = int(last.get("faults", 0))
        cards.append(
            Card("replicas", f"{alive} of {most}", f"faults so far: {faults}", bad=alive < most)
        )
    if "samples_per_s" in last:
        cards.append(Card("speed", f"{last['samples_per_s']:,.0f}", "examples a second"))
    if "bytes_sent" in last:
        moved = size(reports["bytes_sent"].sum())
        cards.append(Card("sent", moved, f"in {len(reports)} exchanges"))
    return cards


def of_replicas(reports: pd.DataFrame) -> list[Card]:
    """Whether each replica answers, by rank; one that does not is bad."""
    return [_of_replica(reports, rank) for rank in ranks(reports)]


def ranks(reports: pd.DataFrame) -> list[int]:
    """The replicas that have ever answered."""
    return sorted(int(found[1]) for c in reports.columns if (found := REPLICA_LOSS.fullmatch(c)))


def _of_replica(reports: pd.DataFrame, rank: int) -> Card:
    losses = reports[f"replica/{rank}/loss"]
    answered = reports.loc[losses.notna(), "round"]
    silent = int(reports["round"].iloc[-1] - answered.iloc[-1])
    share = len(answered) / len(reports)
    detail = f"answered in {100 * share:.{0 if share in (0, 1) else 1}f} % of the rounds"
    if silent:
        rounds = "round" if silent == 1 else "rounds"
        since = f"silent for {silent} {rounds}"
        return Card(f"replica {rank}", since, detail, bad=True)
    return Card(f"replica {rank}", f"loss {losses.iloc[-1]:.4g}", detail)


def _time(reports: pd.DataFrame, planned: float | None) -> str:
    """Seconds of training so far and, by the pace of the last rounds, to go."""
    if "round_s" not in reports:
        return ""
    told = duration(reports["round_s"].sum())
    left = (planned or 0) - reports["round"].iloc[-1]
    pace = reports["round_s"].tail(50).mean()
    return f"{told}, {duration(left * pace)} left" if left > 0 and math.isfinite(pace) else told
