"""What is told of a run, under the same names everywhere: files, terminal, dashboards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from parle_ray.learner import Answer
from parle_ray.membership.roll import MERGED, Roll
from parle_ray.task import Task

UNITS: dict[str, str] = {
    "round": "rounds closed so far",
    "step": "mini-batches walked by each replica so far",
    "loss": "training loss, mean over the replicas and the round",
    "accuracy": "of the master, as evaluate_fn gives it",
    "error": "1 - accuracy",
    "distance": "of the replicas to the master, sqrt(mean ||x^a - x||^2) / ||x||",
    "overlap": "of the replicas, mean <x^a, x^b> / mean ||x^a||^2: a cosine, as lengths are alike",
    "gamma": "scope of local entropy in this round",
    "rho": "inverse strength of the coupling in this round",
    "outer_lr": "step of the outer update in this round",
    "degree": "weight of a sample in this round, as it is tried or was found",
    "lr": "learning rate of the inner optimiser in this round",
    "round_s": "seconds from the last close to this one",
    "stall_s": "seconds that a replica did not compute, from push to push, mean over the replicas",
    "exchange_s": "seconds from a push to its answer, hidden behind the next round if it overlaps",
    "bytes_sent": "bytes that crossed the object store in this round, both ways",
    "samples_per_s": "examples seen a second by all replicas",
    "replicas_alive": "replicas that take part",
    "merged": "pushes that were merged into the master in this round",
    "late": "those of them that an earlier round had asked for",
    "staleness": "merges between a replica's question and its push, mean over the pushes",
    "staleness_max": "the same, of the stalest push of the round",
    "faults": "replicas lost and answers refused so far",
}
"""Metric name -> what it is. Beside these, `replica/<rank>/loss` and `replica/<rank>/walk_s` for
every replica. `loss`, `distance` and `overlap` are weighted as pushes are. Where replicas are
`uneven`, `step` is the fastest's, and `replica/<rank>/steps` the mini-batches of its round."""


@dataclass(frozen=True)
class Series:
    """What Prometheus is told.

    Attributes:
        kind: of the series.
        unit: of its values.
        help: what it is.
        tags: what tells its lines apart.
    """

    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    help: str
    tags: tuple[str, ...] = ("run",)

    def exported(self, name: str) -> tuple[str, ...]:
        """The names under which Prometheus finds it, which Ray begins with `ray_`.

        >>> SERIES["bytes"].exported("bytes")
        ('ray_parle_bytes_total',)
        """
        ends = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        return tuple(f"ray_{PREFIX}{name}{end}" for end in ends[self.kind])


PREFIX = "parle_"
ROUND_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Where the histogram of `round_duration_s` is cut."""

_UNIT = {
    "round": "rounds",
    "step": "mini-batches",
    "loss": "1",
    "accuracy": "1",
    "error": "1",
    "distance": "1",
    "overlap": "1",
    "gamma": "1",
    "rho": "1",
    "outer_lr": "1",
    "degree": "1",
    "lr": "1",
    "round_s": "seconds",
    "stall_s": "seconds",
    "exchange_s": "seconds",
    "bytes_sent": "bytes",
    "samples_per_s": "examples a second",
    "replicas_alive": "replicas",
    "merged": "pushes",
    "late": "pushes",
    "staleness": "merges",
    "staleness_max": "merges",
    "faults": "faults",
}
_EACH = ("run", "replica")

SERIES: dict[str, Series] = {
    **{name: Series("gauge", unit, UNITS[name]) for name, unit in _UNIT.items()},
    "num_rounds": Series("gauge", "rounds", "length of the run"),
    "evaluated_round": Series("gauge", "rounds", "closed when accuracy and error were taken"),
    "replica_up": Series("gauge", "1", "1 if it answered in the last round, else 0", _EACH),
    "replica_loss": Series("gauge", "1", "training loss, mean over its last round", _EACH),
    "replica_round": Series("gauge", "rounds", "closed with its last answer", _EACH),
    "replica_walk_s": Series("gauge", "seconds", "that its last round took it", _EACH),
    "replica_stall_s": Series("gauge", "seconds", "of them in which it did not compute", _EACH),
    "replica_exchange_s": Series("gauge", "seconds", "from its push to the answer", _EACH),
    "replica_answers": Series("counter", "answers", "that it gave", _EACH),
    "rounds": Series("counter", "rounds", "closed by this coordinator"),
    "bytes": Series("counter", "bytes", "that crossed the object store, both ways"),
    "samples": Series("counter", "examples", "seen by all replicas"),
    "refusals": Series("counter", "pushes", "refused, as they were not finite or did not fit"),
    "round_duration_s": Series("histogram", "seconds", "from the last close to this one"),
}
"""What `parle_ray.cluster.meters` tells Prometheus; all under `ray_parle_<name>`.

A gauge has the name that the metric has everywhere.
"""


def round_report(
    task: Task, roll: Roll, distance: float, answers: Mapping[int, Answer]
) -> dict[str, Any]:
    """The report of the round that has just closed, without what only a clock knows."""
    told = [answers[rank] for rank in sorted(answers)]
    weights = [answers[rank].weight for rank in roll.entry.ranks(*MERGED)]
    pairs = {}
    if task.strategy.master_is_mean and len(weights) > 1:
        pairs = {"overlap": overlap(distance, effective(weights))}
    ages = roll.entry.staleness.values()
    stale = {"staleness": sum(ages) / len(ages), "staleness_max": max(ages)} if ages else {}
    steps = {f"replica/{rank}/steps": answers[rank].steps for rank in sorted(answers)}
    return {
        "round": roll.round,
        "step": task.strategy.steps_before(roll.round),
        "loss": sum(a.weight * a.loss for a in told) / sum(a.weight for a in told),
        "distance": distance,
        **pairs,
        **task.strategy.gauges(roll.round - 1),
        **task.strategy.readings(told[0].numbers),
        "lr": told[0].lr,
        "replicas_alive": len(roll.ranks),
        "merged": roll.entry.num_merged,
        "late": roll.entry.num_late,
        **stale,
        "faults": roll.faults,
        **{f"replica/{rank}/loss": answers[rank].loss for rank in sorted(answers)},
        **(steps if task.strategy.uneven else {}),
    }


def effective(weights: Sequence[int]) -> float:
    """How many vectors of equal weight have a mean that is as good: `(sum_a w_a)^2 / sum_a w_a^2`.

    Source: Kish, Survey Sampling (1965).

    >>> effective([7, 7, 7]), effective([1, 3])
    (3.0, 1.6)
    """
    return sum(weights) ** 2 / sum(weight**2 for weight in weights)


def overlap(distance: float, count: float) -> float:
    """The overlap of n vectors x^a, from their distance to their mean x; no look at them.

        overlap  =  mean_(a != b) <x^a, x^b>  /  mean_a ||x^a||^2

    the mean cosine of two where all are of one length. With d the `distance` to the mean, these are
    ||x||^2 (1 - d^2/(n - 1)) and ||x||^2 (1 + d^2), because the x^a - x sum to 0. Where they are
    weighted, so are the means, pairs by w_a w_b, and n is `effective`; then it is exact where all
    are of one length.

    >>> overlap(0.0, 3), overlap(1.0, 2)
    (1.0, 0.0)
    """
    return (1.0 - distance**2 / (count - 1)) / (1.0 + distance**2)
