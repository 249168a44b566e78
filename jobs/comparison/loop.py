"""The training loop of a worker of Ray Train: plain PyTorch, and no Ray in it."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from jobs.comparison.methods import Workers
from parle_ray.evaluate import Evaluator
from parle_ray.execution import moved
from parle_ray.flatness import Ensemble
from parle_ray.generators import Generators
from parle_ray.stream import BatchStream
from parle_ray.task import Task

FAR = 1_000_000
"""Between the seeds of first weights, so that no two runs share them."""

Gather = Callable[[Tensor], list[Tensor]]
"""A worker's vector -> those of all workers, by rank."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker stands, and what joins it to the others.

    Attributes:
        rank, workers: which worker this is, of how many.
        wrap: puts the module on its device and, for DDP, averages its gradients.
        gather: all workers' vectors, where they walk alone.
    """

    rank: int
    workers: int
    wrap: Callable[[nn.Module], nn.Module]
    gather: Gather


@dataclass
class Stopwatch:
    """Seconds of training; it stands still while something is evaluated."""

    seconds: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    def stop(self) -> None:
        """Stand still."""
        self.seconds += time.perf_counter() - self._since

    def go(self) -> None:
        """Go on."""
        self._since = time.perf_counter()


class Worker:
    """A model with its optimiser and its data, and the mean of its weights over time, if any.

    Args:
        task: with the learning rate's schedule, if any, stepped once a mini-batch.
        how: what the workers have in common.
        place: this worker's.
        steps: mini-batches that it will walk.
    """

    def __init__(self, task: Task, how: Workers, place: Place, steps: int) -> None:
        self._task, self._how, self._place, self._steps = task, how, place, steps
        apart = how.together == "predictions"  # members of an ensemble start apart
        with Generators(task.seed + (FAR * place.rank if apart else 0)):
            self._module = task.model_fn()
        self._model = place.wrap(self._module)
        self._device = next(self._module.parameters()).device
        self._optimizer = task.inner_optimizer_fn(list(self._module.parameters()))
        schedule = how.averaging.scheduler_fn(task.lr_scheduler_fn, steps)
        self._scheduler = schedule(self._optimizer) if schedule else None
        self._mean = how.averaging.start(self._module, steps)
        self._generators = Generators(task.seed, place.rank, cuda=self._device.type == "cuda")
        with self._generators:
            batches = moved(task.batches_fn(place.rank, place.workers), self._device)
            self._stream = BatchStream(batches, self._generators, f"worker {place.rank}")

    def step(self, step: int) -> None:
        """Walk the mini-batch number `step`, counted from 1."""
        execution = self._task.execution
        with self._generators:
            batch = execution.place(self._stream.next(), self._device)
            self._optimizer.zero_grad()
            with execution.precision(self._device):
                loss = self._task.loss_fn(self._model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        if self._scheduler:
            self._scheduler.step()
        per_pass = self._stream.batches_per_pass or 1
        if self._mean is not None and self._how.averaging.due(step, self._steps, per_pass):
            self._mean.update_parameters(self._module)

    def weights(self) -> list[Tensor]:
        """What the run would end with: one `(num_params,)`, or that of each worker."""
        averaged = self._mean is not None and int(self._mean.n_averaged) > 0
        source = self._mean if self._mean is not None and averaged else self._module
        vector = parameters_to_vector(source.parameters()).detach()
        return [vector] if self._how.together == "ddp" else self._place.gather(vector)


def walk(
    task: Task, how: Workers, place: Place, *, steps: int, every: int
) -> list[dict[str, float]]:
    """Train for `steps` mini-batches; the evaluations, which only rank 0 makes.

    The clock starts after the first step, which pays for what is imported and connected in it.

    Args:
        task: as in `Worker`.
        how: as in `Worker`.
        place: as in `Worker`.
        steps: of this worker.
        every: steps between evaluations; there is one at the end.
    """
    worker = Worker(task, how, place, steps)
    judge = Judge(task, how) if place.rank == 0 else None
    found: list[dict[str, float]] = []
    worker.step(1)
    clock = Stopwatch()
    for step in range(1, steps + 1):
        if step > 1:
            worker.step(step)
        if step % every == 0 or step == steps:
            weights = worker.weights()
            clock.stop()
            if judge is not None:
                found.append({"step": step, "train_s": clock.seconds, **judge(weights)})
            clock.go()
    return found


class Judge:
    """Evaluates what a run would end with, batch-norm statistics re-estimated, as ours are.

    Args:
        task: has the evaluation.
        how: what is made of the workers' vectors.
    """

    def __init__(self, task: Task, how: Workers) -> None:
        self._how = how
        self._evaluator = Evaluator(task)

    def __call__(self, vectors: list[Tensor]) -> dict[str, float]:
        """`error`, `test_loss` and what else the task's evaluation gives.

        Args:
            vectors: one `(num_params,)`, or one of each worker.
        """
        if self._how.together != "predictions":
            return self._evaluator.evaluate(torch.stack(vectors).mean(0))
        members = []
        for vector in vectors:
            self._evaluator.place(vector)
            members.append(copy.deepcopy(self._evaluator.module))
        return self._evaluator.score(Ensemble(members).eval())
