"""Evaluations under way, beside the rounds and never in them."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayTaskError

from parle_ray.cluster.losses import ENDED

NOTICE_S = 0.5
"""How often it is noticed, in a wait, that the run has to end."""
SHARE = 0.1
"""The part of the time that evaluations may take where the user gives no rhythm."""


class Evaluations:
    """Sends masters to the evaluator and hands out what came back.

    Args:
        evaluator: the evaluator actor.
        task: a list with the reference of the task.
        wanted: False if the user gave no evaluate_fn: then only models are asked for.
        every: rounds between evaluations; None: as often as takes a tenth of the time.
        last: the last round; its evaluation is waited for.
        hurried: whether the run has to end now: then nothing is waited for.
    """

    def __init__(
        self,
        evaluator: Any,
        task: list[ray.ObjectRef],
        *,
        wanted: bool,
        every: int | None,
        last: int,
        hurried: Callable[[], bool],
    ) -> None:
        self._evaluator, self._task, self._wanted = evaluator, task, wanted
        self._every, self._last, self._hurried = every, last, hurried
        self._under_way: dict[int, ray.ObjectRef] = {}
        self._with_model: ray.ObjectRef | None = None
        self._free_at = 0.0

    def of_round(
        self, round: int, master: Callable[[], list[ray.ObjectRef]], want_model: bool
    ) -> dict[str, Any]:
        """Start what is due after `round`; the newest metrics that have come in, if any."""
        self._with_model = None
        if (want_model or self._due(round)) and not self._hurried():
            self._under_way[round] = self._evaluator.evaluate.remote(
                self._task, master(), want_model
            )
            self._with_model = self._under_way[round] if want_model else None
        news: dict[str, Any] = {}
        for k in sorted(self._under_way):
            if not self._is_there(k, wait=round == self._last):
                break
            try:
                found = ray.get(self._under_way.pop(k))
            except (*ENDED, ObjectLostError) as error:
                if isinstance(error, RayTaskError):
                    raise
                continue  # the evaluator was lost in it, again and again
            self._free_at = time.monotonic() + found["seconds"] * (1 / SHARE - 1)
            news |= {**found["metrics"], "evaluated_round": k}
        return news

    def model(self, master: Callable[[], list[ray.ObjectRef]]) -> ray.ObjectRef:
        """A reference of what has the model's state, after the round that was told last."""
        if self._with_model is None or self._hurried():
            return self._evaluator.export.remote(self._task, master())
        return self._with_model

    def _is_there(self, round: int, wait: bool) -> bool:
        while True:
            ready, _ = ray.wait([self._under_way[round]], timeout=NOTICE_S if wait else 0)
            if ready or not wait or self._hurried():
                return bool(ready)

    def _due(self, round: int) -> bool:
        if not self._wanted or round == self._last:
            return self._wanted
        if self._every is not None:
            return round % self._every == 0
        return not self._under_way and time.monotonic() >= self._free_at
