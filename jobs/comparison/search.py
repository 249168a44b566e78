"""The learning rate of each method, from scores on held-out examples of the training set."""

from collections.abc import Mapping
from typing import Any

from jobs.comparison.cases import Case
from jobs.comparison.store import Run
from parle_ray.errors import Diverged


def choose(scored: Mapping[Case, Run]) -> dict[str, float]:
    """Method -> the candidate with the lowest held-out error; between equals, the lowest loss.

    Raises:
        Diverged: all candidates of a method did.
    """
    best: dict[str, tuple[tuple[float, float], float]] = {}
    for case, run in scored.items():
        found = (run.score, case.lr)
        best[case.method] = min(best.get(case.method, found), found)
    for method, (score, _) in best.items():
        if score[0] == float("inf"):
            raise Diverged(f"{method}: every learning rate of the search diverged; lower them")
    return {method: lr for method, (_, lr) in best.items()}


def told(scored: Mapping[Case, Run], chosen: Mapping[str, float]) -> list[dict[str, Any]]:
    """All candidates with their scores, as JSON has it; diverged ones have none.

    `at_edge`: the chosen rate is the lowest or the highest tried, so a better may lie outside.
    """
    rates = sorted({case.lr for case in scored})
    return [
        {
            "method": case.method,
            "lr": case.lr,
            "error": None if run.score[0] == float("inf") else run.score[0],
            "loss": None if run.score[1] == float("inf") else run.score[1],
            "chosen": chosen.get(case.method) == case.lr,
            "at_edge": case.lr in (rates[0], rates[-1]),
        }
        for case, run in scored.items()
    ]
