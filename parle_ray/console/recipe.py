"""From a configuration to the functions that `ParleTrainer` and `simulate` take."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from parle_ray.compression import CODECS
from parle_ray.console.config import Config
from parle_ray.data import (
    Examples,
    ImageLoader,
    TextLoader,
    in_order,
    load_examples,
    make_loader,
    scores,
)
from parle_ray.models import build_for
from parle_ray.moving import exchanged
from parle_ray.strategies import Strategy
from parle_ray.task import Task


@dataclass(frozen=True, kw_only=True)
class BuildModel:
    """The `model_fn`: the network that the configuration names, for the data it names."""

    name: str
    args: dict[str, Any]
    given: dict[str, Any]

    def __call__(self) -> nn.Module:
        return build_for(self.given, self.name, self.args)


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The `batches_fn`. Its arrays cross to a node once; all replicas there map the same copy."""

    examples: Examples
    batch_size: int
    augment: bool
    fraction: float
    seed: int

    def __call__(self, rank: int, num_replicas: int) -> ImageLoader | TextLoader:
        return make_loader(
            self.examples,
            self.batch_size,
            rank=rank,
            num_replicas=num_replicas,
            seed=self.seed,
            fraction=self.fraction,
            augment=self.augment,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The `evaluate_fn`: accuracy and mean cross entropy on what was not trained on.

    Which metrics are made of them is the set's to say.
    """

    examples: Examples

    def __call__(self, module: nn.Module) -> dict[str, float]:
        device = next(module.parameters()).device
        right = num = 0
        loss = 0.0
        for x, y in in_order(self.examples, self.examples.at_once):
            logits, labels = module(x.to(device)).flatten(0, -2), y.to(device).flatten()
            right += int((logits.argmax(1) == labels).sum())
            loss += cross_entropy(logits, labels, reduction="sum").item()
            num += len(labels)
        return self.examples.metrics(right / num, loss / num)


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """The `lr_scheduler_fn`: a factor on the inner optimiser's rate in each planned round."""

    kind: str
    strategy: Strategy
    num_rounds: int

    def __call__(self, optimizer: Optimizer) -> LRScheduler:
        return LambdaLR(optimizer, lambda round: self.factor(round))

    def factor(self, round: int) -> float:
        """By the share p of mini-batches walked: (1 + cos(pi p))/2, or x0.2 at 40, 70 and 90 %."""
        steps_before = self.strategy.steps_before
        progress = steps_before(round) / steps_before(self.num_rounds)
        if self.kind == "cosine":
            return (1.0 + math.cos(math.pi * min(1.0, progress))) / 2.0
        return float(0.2 ** sum(progress >= drop for drop in (0.4, 0.7, 0.9)))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A configuration made ready to run.

    Attributes:
        task: all that trains.
        planned_rounds: length of the run.
        strategy: bound to it.
        num_params: trainable parameters of the network.
        train, test: the examples trained on and evaluated on.
    """

    config: Config
    task: Task
    planned_rounds: int
    strategy: Strategy
    num_params: int
    train: Examples
    test: Examples

    @property
    def planned_steps(self) -> int:
        """Mini-batches that a replica walks in the planned rounds."""
        return self.strategy.steps_before(self.planned_rounds)

    @property
    def num_exchanged(self) -> int:
        """Parameters that go up and down in the planned rounds, of all replicas."""
        return sum(sum(up) + sum(down) for up, down in self._exchanged())

    @property
    def bytes_exchanged(self) -> int:
        """Bytes of these where they are float32, or the codes of it; `auto` is no codec here."""
        name = self.config.compression
        exact = CODECS["none"]().encoded_bytes
        coded = exact if name == "auto" else CODECS[name]().encoded_bytes
        answered = coded if self.strategy.synchronous else exact  # see `AsynchronousMaster.reply`
        return sum(sum(map(coded, up)) + sum(map(answered, down)) for up, down in self._exchanged())

    def _exchanged(self) -> Iterator[tuple[list[int], list[int]]]:
        for round in range(self.planned_rounds):
            yield exchanged(self.strategy, round, self.num_params, self.config.num_replicas)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `ParleTrainer` and `simulate` have in common."""
        taken = vars(self.task) | {"evaluate_every": self.config.evaluate_every}
        own = ("num_replicas", "patience")
        return {name: value for name, value in taken.items() if name not in own}


def make_recipe(config: Config) -> Recipe:
    """Loads the data and tries the model and the loader once, here.

    Raises:
        InputError: the configuration cannot be run as it is.
    """
    data, model = config.data, config.model
    train, test = load_examples(data.name, data.root, data.context)
    if data.held_out is not None:
        train, test = train.validation_split(data.held_out)
    batches_fn = Batches(
        examples=train,
        batch_size=data.batch_size,
        augment=data.augment,
        fraction=data.fraction,
        seed=config.seed,
    )
    task = Task(
        model_fn=BuildModel(name=model.name, args=model.args, given=train.model_arguments),
        loss_fn=scores.loss,
        batches_fn=batches_fn,
        strategy=config.strategy,
        inner_optimizer_fn=config.optimizer,
        evaluate_fn=Evaluation(examples=test),
        num_replicas=config.num_replicas,
        num_rounds=config.num_rounds,
        num_epochs=config.num_epochs,
        seed=config.seed,
        compression=config.compression,
        tree=config.tree,
        execution=config.execution,
    )
    flat = task.build(torch.device("cpu"))
    fitted = task.fitted_to(len(batches_fn(0, config.num_replicas)))
    planned, strategy = fitted.num_rounds, fitted.strategy
    assert planned is not None
    if config.lr_schedule != "constant":
        schedule = LearningRate(kind=config.lr_schedule, strategy=strategy, num_rounds=planned)
        task = replace(task, lr_scheduler_fn=schedule)
    return Recipe(
        config=config,
        task=task,
        planned_rounds=planned,
        strategy=strategy,
        num_params=flat.vector.numel(),
        train=train,
        test=test,
    )
