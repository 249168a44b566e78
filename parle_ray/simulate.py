"""n replicas and the master in this process: what the cluster does, without the distance."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parle_ray.asynchronous import AsynchronousMaster
from parle_ray.deputies import Deputies, make_learner
from parle_ray.evaluate import Evaluator
from parle_ray.execution import Execution
from parle_ray.learner import Answer, Learner
from parle_ray.master import Master
from parle_ray.metrics import round_report
from parle_ray.race import Given, Race, make_race
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
from parle_ray.uneven import BySpeed, Told

Learners = Sequence[Learner | Deputies]


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
    speeds: Sequence[float] | None = None,
    arrivals: Iterable[int] | None = None,
    steps: Sequence[Sequence[int]] | None = None,
    on_round: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Run a whole training run in this process; the bits are those of `ParleTrainer.fit`.

    The arguments are `ParleTrainer`'s; `compression="auto"` is none here, where no link is.
    `evaluate_every` counts rounds; None evaluates at the end only. `on_round` sees each report
    as it is made.

    An asynchronous strategy merges pushes in their order of arrival, which is made up here. A walk
    of replica a takes 1/speeds[a] on a virtual clock, from the moment that it sets out, and walks
    that end at one time arrive in the order of the ranks; without `speeds` that is round robin. Or
    `arrivals` gives the ranks in their order, one for each push.

    With a strategy that is `uneven`, `speeds` are mini-batches in a unit of that clock; or `steps`
    gives how many each replica walks, a list by rank for each round.

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
    race = make_race(strategy, num_replicas, speeds, arrivals, steps)
    with task.execution.threads():
        return _run(task, race, evaluate_every, on_round)


def _run(
    task: Task,
    race: Race | Given | BySpeed | Told,
    evaluate_every: int | None,
    on_round: Callable[[dict[str, Any]], None] | None,
) -> Outcome:
    learners = [make_learner(task, rank) for rank in range(task.num_replicas)]
    task = task.fitted_to(learners[0].batches_per_pass)
    assert task.num_rounds is not None
    master: Master
    if isinstance(race, BySpeed | Told):
        master = Master(task, range(task.num_replicas))
        rounds = _rounds(task, master, learners, race)
    else:
        master = AsynchronousMaster(task, range(task.num_replicas))
        rounds = _arrivals(task, master, learners, race)
    evaluator = Evaluator(task)
    for learner in learners:
        learner.start(task, round=0)
    history = []
    for answers in rounds:
        report = round_report(task, master, master.distance, answers)
        last = master.round == task.num_rounds
        if last or (evaluate_every and master.round % evaluate_every == 0):
            report |= evaluator.evaluate(master.model)
        history.append(report)
        if on_round:
            on_round(report)
    for learner in learners:
        learner.settle(task.num_rounds, master.reply(learner.rank))
    return Outcome(
        master.vector.clone(),
        master.model.clone(),
        [learner.vector.clone() for learner in learners],
        history,
        copy.deepcopy(evaluator.module),
    )


def _rounds(
    task: Task, master: Master, learners: Learners, walks: BySpeed | Told
) -> Iterator[dict[int, Answer]]:
    """Close round after round; what was answered in each."""
    assert task.num_rounds is not None
    replies = {rank: master.reply(rank) for rank in master.ranks}
    for round in range(task.num_rounds):
        answers = {}
        each = walks.of(round, task.strategy.steps(round))
        for learner, steps in zip(learners, each, strict=True):
            answer = learner.play(round, partial(replies.__getitem__, learner.rank), steps)
            weight, numbers = answer.weight, answer.numbers
            master.take(learner.rank, round, _sent(answer), weight=weight, numbers=numbers)
            answers[learner.rank] = answer
        replies = master.close()
        yield answers


def _arrivals(
    task: Task, master: AsynchronousMaster, learners: Learners, race: Race | Given
) -> Iterator[dict[int, Answer]]:
    """Merge push after push; what was answered in each round of them.

    A walk is computed when it begins, while the master is where it sets out from.
    """
    assert task.num_rounds is not None
    out: dict[int, Answer] = {}
    answers: dict[int, Answer] = {}
    while master.round < task.num_rounds:
        for rank in master.ready:
            round = task.round_of(master.ask(rank))
            out[rank] = learners[rank].play(round, partial(master.reply, rank))
            race.start(rank)
        rank = race.next()
        answer = out.pop(rank)
        master.take(rank, master.asked[rank], _sent(answer), numbers=answer.numbers)
        answers[rank] = answers[rank].then(answer) if rank in answers else answer
        if master.answered:
            master.close()
            yield answers
            answers = {}


def _sent(answer: Answer) -> Tensor | np.ndarray | None:
    return answer.push.cpu() if isinstance(answer.push, Tensor) else answer.push
