"""Evaluations under way, beside the rounds and never in them."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

SHARE = 0.1
"""The part of the time that evaluations may take where the user gives no rhythm."""


class Evaluations:
    """Sends masters to the evaluator and hands out what came back.

    Args:
        evaluator: the evaluator actor.
        wanted: False if the user gave no evaluate_fn: then only models are asked for.
        every: rounds between evaluations; None: as often as takes a tenth of the time.
        last: the last round; its evaluation is waited for.
    """

    def __init__(self, evaluator: Any, *, wanted: bool, every: int | None, last: int) -> None:
        self._evaluator, self._wanted = evaluator, wanted
        self._every, self._last = every, last
        self._under_way: dict[int, ray.ObjectRef] = {}
        self._free_at = 0.0

    def of_round(self, round: int, master: Callable[[], list[ray.ObjectRef]]) -> dict[str, Any]:
        """Start what is due after `round`; the newest metrics that have come in, if any."""
        if self._due(round) and round not in self._under_way:
            self._send(round, master, want_model=False)
        news: dict[str, Any] = {}
        for k in sorted(self._under_way):
            ready, _ = ray.wait([self._under_way[k]], timeout=None if round == self._last else 0)
            if not ready:
                break
            try:
                found = ray.get(self._under_way.pop(k))
            except (RayActorError, ObjectLostError) as error:
                if isinstance(error, RayTaskError):
                    raise
                continue  # the evaluator was lost in it, again and again
            self._free_at = time.monotonic() + found["seconds"] * (1 / SHARE - 1)
            news |= {**found["metrics"], "evaluated_round": k}
        return news

    def model(self, round: int, master: Callable[[], list[ray.ObjectRef]]) -> ray.ObjectRef:
        """A reference of the evaluation of `round`, which has the model's state with it."""
        return self._send(round, master, want_model=True)

    def _send(
        self, round: int, master: Callable[[], list[ray.ObjectRef]], want_model: bool
    ) -> ray.ObjectRef:
        ref = self._evaluator.evaluate.remote(master(), want_model)
        self._under_way[round] = ref
        return ref

    def _due(self, round: int) -> bool:
        if not self._wanted or round == self._last:
            return self._wanted
        if self._every is not None:
            return round % self._every == 0
        return not self._under_way and time.monotonic() >= self._free_at
