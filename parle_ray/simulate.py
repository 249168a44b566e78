"""n replicas and the master in this process: what the cluster does, without the distance."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from parle_ray.evaluate import Evaluator
from parle_ray.execution import Execution
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.metrics import round_report
from parle_ray.strategies import Strategy
from parle_ray.task import (
    BatchesFn,
    EvaluateFn,
    LossFn,
    ModelFn,
    OptimizerFn,
    SchedulerFn,
    Task,
)


@dataclass(frozen=True)
class Outcome:
    """What a simulated run ends with.

    Attributes:
        master: `(num_params,)`, in the order of the trainable `module.parameters()`.
        model: `(num_params,)`, what is evaluated and saved: the master, unless the strategy says
            otherwise.
        replicas: one vector `(num_params,)` a replica, by rank.
        history: one report a round, with the names of `parle_ray.metrics`.
        module: the module with these parameters, and batch-norm statistics of its own.
    """

    master: Tensor
    model: Tensor
    replicas: list[Tensor]
    history: list[dict[str, Any]]
    module: torch.nn.Module


def simulate(
    model_fn: ModelFn,
    loss_fn: LossFn,
    batches_fn: BatchesFn,
    *,
    strategy: Strategy,
    inner_optimizer_fn: OptimizerFn,
    num_replicas: int,
    num_rounds: int | None = None,
    num_epochs: int | None = None,
    lr_scheduler_fn: SchedulerFn | None = None,
    evaluate_fn: EvaluateFn | None = None,
    evaluate_every: int | None = None,
    compression: str = "none",
    tree: int | None = None,
    execution: Execution | None = None,
    seed: int = 0,
    on_round: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Run a whole training run in this process; the bits are those of `ParleTrainer.fit`.

    The arguments are `ParleTrainer`'s; `compression="auto"` is none here, where no link is.
    `evaluate_every` counts rounds; None evaluates at the end only. `on_round` sees each report
    as it is made.

    Raises:
        InputError: something the user gave cannot be used.
        Diverged: the parameters of all replicas became non-finite.
    """
    task = Task(
        model_fn=model_fn,
        loss_fn=loss_fn,
        batches_fn=batches_fn,
        strategy=strategy,
        inner_optimizer_fn=inner_optimizer_fn,
        lr_scheduler_fn=lr_scheduler_fn,
        evaluate_fn=evaluate_fn,
        num_replicas=num_replicas,
        num_rounds=num_rounds,
        num_epochs=num_epochs,
        seed=seed,
        compression=compression,
        tree=tree,
        execution=execution or Execution(),
    )
    with task.execution.threads():
        return _run(task, evaluate_every, on_round)


def _run(
    task: Task, evaluate_every: int | None, on_round: Callable[[dict[str, Any]], None] | None
) -> Outcome:
    learners = [Learner(task, rank) for rank in range(task.num_replicas)]
    task = task.fitted_to(learners[0].batches_per_pass)
    assert task.num_rounds is not None
    master = Master(task, range(task.num_replicas))
    evaluator = Evaluator(task)
    for learner in learners:
        learner.start(task, round=0)
    replies = {rank: master.reply(rank) for rank in master.ranks}
    history = []
    for round in range(task.num_rounds):
        answers = {}
        for learner in learners:
            answers[learner.rank] = learner.play(round, partial(replies.__getitem__, learner.rank))
            push = answers[learner.rank].push
            master.take(learner.rank, round, push.cpu() if isinstance(push, Tensor) else push)
        replies = master.close()
        report = round_report(task, master, master.distance, answers)
        last = round + 1 == task.num_rounds
        if last or (evaluate_every and (round + 1) % evaluate_every == 0):
            report |= evaluator.evaluate(master.model)
        history.append(report)
        if on_round:
            on_round(report)
    for learner in learners:
        learner.settle(task.num_rounds, replies[learner.rank])
    return Outcome(
        master.vector.clone(),
        master.model.clone(),
        [learner.vector.clone() for learner in learners],
        history,
        copy.deepcopy(evaluator.module),
    )
