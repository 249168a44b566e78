"""The training loop of a worker of Ray Train: plain PyTorch, and no Ray in it."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from jobs.comparison.methods import Workers
from parle_ray.evaluate import Evaluator
from parle_ray.execution import moved
from parle_ray.generators import Generators
from parle_ray.stream import BatchStream
from parle_ray.task import Task

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


def walk(
    task: Task, how: Workers, place: Place, *, steps: int, every: int
) -> list[dict[str, float]]:
    """Train for `steps` mini-batches; the evaluations, which only rank 0 makes.

    The clock starts after the first step, which pays for what is imported and connected in it.

    Args:
        task: with the learning rate's schedule, if any, stepped once a mini-batch.
        how: what the workers have in common.
        place: this worker's.
        steps: of this worker.
        every: steps between evaluations; there is one at the end.
    """
    if how.together == "predictions":  # members of an ensemble start apart
        begun = replace(task, seed=task.seed + 1_000_000 * place.rank)
    else:
        begun = task
    with Generators(begun.seed):
        module = task.model_fn()
    model = place.wrap(module)
    device = next(module.parameters()).device
    optimizer = task.inner_optimizer_fn(list(module.parameters()))
    schedule = how.averaging.scheduler_fn(task.lr_scheduler_fn, steps)
    scheduler = schedule(optimizer) if schedule else None
    mean = how.averaging.start(module, steps)
    generators = Generators(task.seed, place.rank, cuda=device.type == "cuda")
    with generators:
        stream = BatchStream(
            moved(task.batches_fn(place.rank, place.workers), device),
            generators,
            f"worker {place.rank}",
        )
    judge = Judge(task, how) if place.rank == 0 else None
    found: list[dict[str, float]] = []
    clock = Stopwatch()
    for step in range(1, steps + 1):
        with generators:
            batch = task.execution.place(stream.next(), device)
            optimizer.zero_grad()
            with task.execution.precision(device):
                loss = task.loss_fn(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if scheduler:
            scheduler.step()
        if mean is not None and how.averaging.due(step, steps, stream.batches_per_pass or 1):
            mean.update_parameters(module)
        if step == 1:
            clock = Stopwatch()
        if step % every == 0 or step == steps:
            averaged = mean is not None and int(mean.n_averaged) > 0
            vector = parameters_to_vector((mean if averaged else module).parameters()).detach()  # type: ignore[union-attr]
            vectors = [vector] if how.together == "ddp" else place.gather(vector)
            clock.stop()
            if judge is not None:
                found.append({"step": step, "train_s": clock.seconds, **judge(vectors)})
            clock.go()
    return found


class Judge:
    """Evaluates what a run would end with, batch-norm statistics re-estimated, as ours are.

    Args:
        task: has the evaluation.
        how: what is made of the workers' vectors.
    """

    def __init__(self, task: Task, how: Workers) -> None:
        self._task, self._how = task, how
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
        assert self._task.evaluate_fn is not None
        with torch.no_grad():
            told = dict(self._task.evaluate_fn(Ensemble(members).eval()))
        return told | {"error": 1.0 - told["accuracy"]}


class Ensemble(nn.Module):
    """The mean of the members' probabilities, as log-probabilities `(B, num_classes)`."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(B, C, H, W)` -> `(B, num_classes)`."""
        told = torch.stack([member(x).log_softmax(1) for member in self.members])
        return told.logsumexp(0) - torch.log(torch.tensor(float(len(self.members))))
