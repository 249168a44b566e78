"""A run told to Prometheus, through Ray's own metrics (`parle_ray.metrics.SERIES`)."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from ray.util import metrics

from parle_ray.learner import Answer
from parle_ray.metrics import PREFIX, ROUND_S, SERIES

PERIOD_S = 1.0
"""Values are told as often at most; Prometheus asks for them less often."""
SHARE = 0.01
"""The part of the coordinator's time that telling them takes at most."""

GAUGES = {name for name, series in SERIES.items() if series.kind == "gauge"}

Tell = Callable[[str, float, dict[str, str]], None]


class Meters:
    """What has come together since it was told last.

    Args:
        run: its name, a tag of every series.
        tell: takes a series, a value and tags; for tests.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        run: str,
        tell: Tell | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tags = {"run": run}
        self._tell, self._clock = tell or _tell, clock
        self._next_at = clock()
        self._gauges: dict[str, float] = {}
        self._of_replicas: dict[int, dict[str, float]] = {}
        self._counts: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()
        self._rounds_s: list[float] = []

    def round(
        self,
        report: Mapping[str, Any],
        answers: Mapping[int, Answer],
        times: Mapping[int, Mapping[str, float | None]],
        *,
        last: bool,
    ) -> None:
        """A round has closed.

        Args:
            report: of it.
            answers: that came in it, by rank.
            times: what their replicas measured, by rank.
            last: there will be none after it.
        """
        self._gauges |= {k: v for k, v in report.items() if k in GAUGES and v is not None}
        for told in self._of_replicas.values():
            told["replica_up"] = 0.0
        for rank, answer in answers.items():
            seconds = {f"replica_{k}": v for k, v in times[rank].items() if v is not None}
            own = {"replica_up": 1.0, "replica_loss": answer.loss, "replica_round": report["round"]}
            self._of_replicas.setdefault(rank, {}).update(own | seconds)
            self._counts["samples"] += answer.num_samples
            self._answers[rank] += 1
        self._counts["rounds"] += 1
        self._counts["bytes"] += report["bytes_sent"]
        self._counts["refusals"] += len(report.get("refusals", ()))
        self._rounds_s.append(report["round_s"])
        began = self._clock()
        if last or began >= self._next_at:
            self._flush()
            now = self._clock()
            self._next_at = now + max(PERIOD_S, (now - began) / SHARE)

    def _flush(self) -> None:
        for name, value in self._gauges.items():
            self._tell(name, value, self._tags)
        for rank, told in self._of_replicas.items():
            for name, value in told.items():
                self._tell(name, value, self._tags | {"replica": str(rank)})
        for name, count in self._counts.items():
            if count:  # Ray refuses 0
                self._tell(name, count, self._tags)
        for rank, count in self._answers.items():
            self._tell("replica_answers", count, self._tags | {"replica": str(rank)})
        for seconds in self._rounds_s:
            self._tell("round_duration_s", seconds, self._tags)
        self._counts.clear()
        self._answers.clear()
        self._rounds_s.clear()


def _tell(name: str, value: float, tags: dict[str, str]) -> None:
    meter, kind = _meter(name), SERIES[name].kind
    if kind == "gauge":
        meter.set(float(value), tags)
    elif kind == "counter":
        meter.inc(float(value), tags)
    else:
        meter.observe(value, tags)


@cache
def _meter(name: str) -> Any:
    """One a process, as Ray wants it."""
    series = SERIES[name]
    told = f"{series.help} ({series.unit})"
    if series.kind == "histogram":
        return metrics.Histogram(PREFIX + name, told, list(ROUND_S), series.tags)
    kind = metrics.Gauge if series.kind == "gauge" else metrics.Counter
    return kind(PREFIX + name, told, series.tags)
