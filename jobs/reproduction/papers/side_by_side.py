"""Runs of several seeds and learning rates in one: they share a vector, and no number.

A parameter has the shape `(seeds, rates, ...)`, and the loss is the sum of all runs' losses, each
times its rate; a step of SGD at a rate of 1 is then a step of every run at its own. This holds for
strategies that treat each coordinate by itself, as all do that are tried here.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from parle_ray import simulate
from parle_ray.schedules import Plan
from parle_ray.strategies import Strategy
from parle_ray.task import BatchesFn


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is minimised, by all runs at once.

    Attributes:
        model_fn: the module with parameters `(seeds, rates, ...)`.
        loss_fn: `(module, batch)` to the losses `(seeds, rates)` of a mini-batch.
        measure: of the module to what is compared, `(seeds, rates)`.
        rates: the learning rates, `(rates,)`.
    """

    model_fn: Callable[[], nn.Module]
    loss_fn: Callable[[nn.Module, Any], Tensor]
    measure: Callable[[nn.Module], Tensor]
    rates: Tensor


@dataclass(frozen=True)
class Shard:
    """Indices of the examples of one replica, `(seeds, batch_size)` at a time, shuffled each pass.

    Attributes:
        indices: `(seeds, examples)`, what the replica has in each of the runs.
        batch_size: of a mini-batch; what is left of a pass after whole ones is left out.
    """

    indices: Tensor
    batch_size: int = 1

    def __len__(self) -> int:
        return self.indices.shape[1] // self.batch_size

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.rand(self.indices.shape).argsort(1)  # the replica's random numbers
        shuffled = self.indices.gather(1, order)
        for i in range(len(self)):
            yield shuffled[:, i * self.batch_size : (i + 1) * self.batch_size]


def shards(num_seeds: int, num_examples: int, batch_size: int = 1) -> BatchesFn:
    """A `batches_fn`: in each run, which is a seed, every replica has an n-th of the examples."""
    everything = torch.stack(
        [
            torch.randperm(num_examples, generator=torch.Generator().manual_seed(seed))
            for seed in range(num_seeds)
        ]
    )
    return lambda rank, num_replicas: Shard(everything[:, rank::num_replicas], batch_size)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What was measured along a run.

    Attributes:
        steps: `(times,)`, mini-batches that each replica has walked.
        values: `(times, rates)`, means over the seeds; infinite where a run has diverged.
    """

    steps: Tensor
    values: Tensor

    def part(self, columns: slice) -> "Trace":
        """Of some of the rates."""
        return replace(self, values=self.values[:, columns])

    @property
    def best(self) -> Tensor:
        """`(times,)`: at each time, of the rate that is best for that time."""
        return self.values.min(1).values

    def at(self, steps: int) -> float:
        """The best after so many steps, one of `self.steps`."""
        return self.best[self.steps == steps].item()

    def best_at(self, steps: int) -> int:
        """Which rate that is."""
        return int(self.values[self.steps == steps].argmin())

    def steps_to(self, target: float) -> float:
        """Steps after which the best rate first is at `target` or below; infinite if never."""
        there = self.steps[self.best <= target]
        return float(there[0]) if len(there) else math.inf

    def gain_on(self, other: "Trace", target: float) -> float:
        """How many times fewer steps than `other` it takes to the target; 0 if it does not get
        there, infinite if only the other does not."""
        steps = self.steps_to(target)
        return 0.0 if math.isinf(steps) else other.steps_to(target) / steps

    def curve(self, name: str) -> pd.DataFrame:
        """The best, to be drawn; without the start, which has no logarithm."""
        drawn = {"x": self.steps[1:].numpy(), "y": self.best[1:].numpy()}
        return pd.DataFrame({"curve": name, **drawn})


def walk(
    problem: Problem,
    strategy: Strategy,
    batches_fn: BatchesFn,
    *,
    num_replicas: int = 1,
    num_rounds: int,
    every: int = 1,
) -> Trace:
    """Run, and measure at the start and after each `every` rounds."""
    seen = [problem.measure(problem.model_fn())]

    def watch(module: nn.Module) -> dict[str, float]:
        seen.append(problem.measure(module))
        return {}

    simulate(
        problem.model_fn,
        lambda module, batch: (problem.loss_fn(module, batch) * problem.rates).sum(),
        batches_fn,
        strategy=strategy,
        inner_optimizer_fn=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        num_replicas=num_replicas,
        num_rounds=num_rounds,
        evaluate_fn=watch,
        evaluate_every=every,
    )
    bound = strategy.bind(Plan(num_rounds=num_rounds))
    return Trace(
        steps=torch.tensor([bound.steps_before(i * every) for i in range(len(seen))]),
        values=torch.stack(seen).mean(1).nan_to_num(nan=math.inf),
    )


def times(gain: float) -> str:
    """A gain in words."""
    if math.isinf(gain):
        return "infinitely many times (the other does not get there)"
    return f"{gain:.1f} times" if gain else "0 times (it does not get there)"
