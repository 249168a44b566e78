"""The door to an `Evaluator`: a process of its own, so that no round waits for an evaluation."""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from parle_ray.cluster.wire import pack_tree, view_all
from parle_ray.errors import InputError, UserCodeError
from parle_ray.evaluate import Evaluator
from parle_ray.task import Task


class EvaluatorActor:
    """Evaluates masters that it is sent, one after the other.

    It reserves nothing: on CPU it yields to the replicas, on GPUs it shares the first replica's.
    Every call brings the reference of the task, in a list: Ray, which starts this actor again where
    it was lost, warns in each run of those that were made with one.

    Args:
        gpu: the index of the GPU to share, or None.
    """

    def __init__(self, gpu: int | None) -> None:
        os.nice(5)
        self._device = "cpu" if gpu is None else f"cuda:{gpu}"
        self._evaluator: Evaluator | None = None

    def __repr__(self) -> str:
        return "evaluator"

    def evaluate(
        self, task: list[ray.ObjectRef], master: list[ray.ObjectRef], want_model: bool
    ) -> dict[str, Any]:
        """Metrics of a master, the seconds they took, and the model's `state_dict` if wanted."""
        before = time.perf_counter()
        with _explained():
            self._evaluator = self._evaluator or self._make(task)
            metrics = self._evaluator.evaluate(view_all(ray.get(master), self._evaluator.dtype))
            model = pack_tree(dict(self._evaluator.module.state_dict())) if want_model else None
        return {"metrics": metrics, "model": model, "seconds": time.perf_counter() - before}

    @ray.method(concurrency_group="export")
    def export(self, task: list[ray.ObjectRef], master: list[ray.ObjectRef]) -> dict[str, Any]:
        """The model's `state_dict` at once, from a module of its own beside an evaluation."""
        with _explained():
            evaluator = self._make(task)
            model = evaluator.place(view_all(ray.get(master), evaluator.dtype))
        return {"model": pack_tree(dict(model))}

    def _make(self, ref: list[ray.ObjectRef]) -> Evaluator:
        task: Task = ray.get(ref[0])
        torch.set_num_threads(task.execution.num_threads or 1)
        return Evaluator(replace(task, execution=replace(task.execution, device=self._device)))


@contextmanager
def _explained() -> Iterator[None]:
    """Say what went wrong in a form that survives the way to the driver."""
    try:
        yield
    except (InputError, RayError):
        raise
    except Exception as error:
        raise UserCodeError(
            f"evaluation: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        ) from None
