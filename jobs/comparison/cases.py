"""Which runs a comparison consists of, in which order, and the configuration of each."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jobs.comparison.budget import Budget, Walk
from jobs.comparison.methods import METHODS, Exchange, Workers
from parle_ray.console.config import Config, InnerOptimizer
from parle_ray.errors import InputError
from parle_ray.strategies import SGD, Strategy

SEARCH_SEED = 10_000
"""Of the runs that choose a learning rate; those that are compared have 0, 1, 2, ..."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run.

    Attributes:
        method: its name.
        lr: learning rate of the inner optimiser.
        seed: of parameters, data order and dropout.
        search: whether it is a candidate, scored on examples held out of the training set.
        length: the part of the budget that it spends, with a whole schedule of its own.
    """

    method: str
    lr: float
    seed: int
    search: bool = False
    length: float = 1.0

    @property
    def key(self) -> str:
        """The name of the run's file."""
        length = "" if self.length == 1.0 else f"_length{self.length:g}"
        which = "search" if self.search else f"seed{self.seed}"
        return f"{self.method}_lr{self.lr:g}_{which}{length}"

    @property
    def how(self) -> Exchange | Workers:
        """What runs it."""
        return METHODS[self.method].how

    @property
    def strategy(self) -> Strategy:
        """Of `ParleTrainer`; data-parallel SGD for what does not run on it."""
        return self.how.strategy if isinstance(self.how, Exchange) else SGD()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all runs of a comparison share.

    Attributes:
        config: the task.
        budget: of each run.
        rates: learning rates that are tried for each method, rising.
        held_out: examples of the training set on which candidates are scored.
        evaluations: how often a run is evaluated, about.
    """

    config: Config
    budget: Budget
    rates: tuple[float, ...]
    held_out: int
    evaluations: int

    def walk(self, case: Case) -> Walk:
        """How a run spends what it has of the budget."""
        return case.how.walk(self.budget.part(case.length))

    def configure(self, case: Case) -> Config:
        """The configuration of a run.

        Raises:
            InputError: the configuration's optimiser has no learning rate to choose.
        """
        walk = self.walk(case)
        rounds = walk.steps // case.strategy.steps(0)
        optimizer = self.config.optimizer
        if not isinstance(optimizer, InnerOptimizer) or "lr" not in optimizer.init_args:
            raise InputError("optimizer: it has no lr to choose; name SGD or AdamW, with its lr")
        shared = isinstance(case.how, Workers) and case.how.together == "ddp"
        data = replace(
            self.config.data,
            batch_size=walk.batch_size,
            fraction=1.0 / walk.workers if shared else self.config.data.fraction,
            held_out=self.held_out if case.search else None,
        )
        return replace(
            self.config,
            data=data,
            strategy=case.strategy,
            optimizer=replace(optimizer, init_args={**optimizer.init_args, "lr": case.lr}),
            num_replicas=walk.workers,
            num_rounds=rounds,
            num_epochs=None,
            evaluate_every=max(1, rounds // (1 if case.search else self.evaluations)),
            checkpoint_every=rounds,
            seed=case.seed,
        )


def candidates(methods: Iterable[str], rates: Sequence[float], length: float = 1.0) -> list[Case]:
    """The runs of the search: for each method the same rates, length and seed."""
    return [
        Case(method=method, lr=lr, seed=SEARCH_SEED, search=True, length=length)
        for method in methods
        for lr in rates
    ]


def finals(chosen: dict[str, float], seeds: int, lengths: Sequence[float] = (1.0,)) -> list[Case]:
    """The runs that are compared: seed by seed, and within a seed the methods in random order.

    Whatever else the machine does falls on all methods alike; the order is always the same.

    Args:
        chosen: method -> learning rate.
        seeds: how many.
        lengths: of the runs; each method makes one of each.
    """
    cases = []
    for seed in range(seeds):
        order = [(method, length) for method in sorted(chosen) for length in lengths]
        random.Random(seed).shuffle(order)
        cases += [Case(method=m, lr=chosen[m], seed=seed, length=length) for m, length in order]
    return cases
