"""What is kept of a run of ours: every evaluation, with the time and the bytes until its round."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import nn

from jobs.comparison.budget import Walk
from jobs.comparison.store import extra_of
from parle_ray.task import EvaluateFn


@dataclass(frozen=True)
class Recorded:
    """The `evaluate_fn`, and a line for each call: a report has the newest evaluation alone.

    Attributes:
        evaluate_fn: what is called.
        file: where all nodes see it.
    """

    evaluate_fn: EvaluateFn | None
    file: Path

    def __call__(self, module: nn.Module) -> Mapping[str, float]:
        assert self.evaluate_fn is not None
        metrics = dict(self.evaluate_fn(module))
        with self.file.open("a") as lines:
            lines.write(json.dumps(metrics) + "\n")
        return metrics


def by_round(
    reports: list[dict[str, Any]], recorded: list[dict[str, float]], every: int
) -> dict[int, dict[str, float]]:
    """Round -> its evaluation: all that were due, or those that were reported.

    Args:
        reports: of all rounds.
        recorded: the evaluations in order; not used where one is missing or was made twice,
            because the evaluator was lost.
        every: rounds between evaluations; there is one after the last.
    """
    due = sorted({*range(every, len(reports) + 1, every), len(reports)})
    if len(recorded) == len(due):
        return dict(zip(due, recorded, strict=True))
    return {
        int(report["evaluated_round"]): report
        for report in reports
        if report.get("evaluated_round") is not None
    }


def evaluations(
    reports: list[dict[str, Any]], told: dict[int, dict[str, float]], walk: Walk, sync_every: int
) -> list[dict[str, float]]:
    """What is kept: a row for each round that was evaluated, with its time and its bytes.

    Args:
        reports: of all rounds.
        told: of `by_round`.
        walk: of the method.
        sync_every: mini-batches in a round.
    """
    train_s = list(accumulate((report["round_s"] for report in reports), initial=0.0))
    bytes_sent = list(accumulate((report["bytes_sent"] for report in reports), initial=0.0))
    return [
        {
            "gradients": walk.workers * walk.batch_size * sync_every * round,
            "train_s": train_s[round],
            "bytes_sent": bytes_sent[round],
            "error": 1.0 - metrics["accuracy"],
            "test_loss": metrics["test_loss"],
            **extra_of(metrics),
        }
        for round, metrics in told.items()
    ]
