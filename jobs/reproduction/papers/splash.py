"""Splash (Zhang, Jordan, arXiv 1506.07552): logistic regression in less time than one thread."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from jobs.reproduction.papers.digits import CLASSES, NUM_EXAMPLES, PIXELS, training_loss
from jobs.reproduction.papers.found import Claim, Found
from jobs.reproduction.papers.side_by_side import Problem, Trace, shards, times, walk
from jobs.reproduction.papers.splash_degree import Degrees
from parle_ray.strategies import LocalSGD, Splash

THREADS = {4: 2, 16: 4, 64: 8}
"""n -> passes over all data."""
RATES = (0.003, 0.006, 0.012, 0.025, 0.05, 0.1)
"""Of single examples; for n threads, and for one."""
BATCH_RATES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Of means of n examples."""
PENALTY = 1e-3


class Logistic(nn.Module):
    """Logistic regression of 10 classes: w `(seeds, rates, 64, 10)`, b `(seeds, rates, 1, 10)`."""

    def __init__(self, num_seeds: int, num_rates: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(num_seeds, num_rates, PIXELS, CLASSES))
        self.b = nn.Parameter(torch.zeros(num_seeds, num_rates, 1, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return images @ self.w + self.b


def run(num_seeds: int) -> Found:
    """One thread walks two passes over the data; n walk a pass in an n-th of the time."""
    alone = _one_thread(num_seeds)
    threads = {n: _threads(num_seeds, n, passes) for n, passes in THREADS.items()}
    batches = {n: _batches(num_seeds, n, passes) for n, passes in THREADS.items()}
    curves = [alone.curve("one thread")]
    for n, (splash, averaged) in threads.items():
        curves.append(splash.curve(f"Splash, n = {n}"))
        curves.append(averaged.curve(f"averaging, n = {n}"))
        curves.append(batches[n].curve(f"mini-batches of {n}"))
    most = max(THREADS)
    degrees = Degrees(_problem, num_seeds, most, RATES[alone.best_at(NUM_EXAMPLES)])
    curves += degrees.curves()
    half = alone.at(NUM_EXAMPLES // 2)
    return Found(
        claims=(
            _alone_claim(alone, {n: splash for n, (splash, _) in threads.items()}),
            _batches_claim(threads[most][0], batches[most], half),
            _averaging_claim(*threads[most]),
            degrees.claim(alone),
        ),
        curves=pd.concat(curves),
        x="examples that one thread walks, one after the other (log)",
        y="training loss, best rate for each time (log)",
    )


def _alone_claim(alone: Trace, splash: dict[int, Trace]) -> Claim:
    told, best = [], 0.0
    for passes, name in ((0.5, "half a pass"), (1.0, "a pass")):
        target = alone.at(int(passes * NUM_EXAMPLES))
        gains = {n: trace.gain_on(alone, target) for n, trace in splash.items()}
        best = max(best, *gains.values())
        each = ", ".join(f"{times(gain)} with n = {n}" for n, gain in gains.items())
        told.append(f"to its loss after {name}: {each}")
    return Claim(
        says="an order of magnitude faster than one thread",
        published="10 times and more",
        ours="; ".join(told),
        kept=best >= 10.0,
        why=f"Of {NUM_EXAMPLES} images a thread of 64 has {NUM_EXAMPLES // 64}; theirs are "
        "millions. SGD at a constant rate, so that the noise of a short and weighted walk stays; "
        "theirs is AdaGrad.",
    )


def _batches_claim(splash: Trace, batches: Trace, target: float) -> Claim:
    steps = splash.gain_on(batches, target)
    length = NUM_EXAMPLES // max(THREADS)
    return Claim(
        says="and than mini-batches",
        published="75 times as fast as MLlib's, on 64 cores (their site)",
        ours=f"n = {max(THREADS)}: {times(steps)} in steps, {times(steps * length)} in exchanges",
        kept=steps >= 10.0,
        why="In steps alone an exchange costs nothing, and mini-batches have one at each step, "
        "Splash one a pass.",
    )


def _averaging_claim(splash: Trace, averaged: Trace) -> Claim:
    ends = splash.best[-1].item(), averaged.best[-1].item()
    return Claim(
        says="averages need the weights: without them n threads go as far as one",
        published="no figure (section 3)",
        ours=f"n = {max(THREADS)}, at the end: {ends[0]:.2f} with, {ends[1]:.2f} without",
        kept=ends[0] < ends[1],
        why="Both at rates for one thread: plain SGD averaged at n times the rate is Splash.",
    )


def _problem(rates: Sequence[float], num_seeds: int) -> Problem:
    return training_loss(lambda r: Logistic(num_seeds, r), rates, num_seeds, PENALTY)


def _one_thread(num_seeds: int) -> Trace:
    problem = _problem(RATES, num_seeds)
    some = LocalSGD(sync_every=NUM_EXAMPLES // 32)
    return walk(problem, some, shards(num_seeds, NUM_EXAMPLES), num_rounds=64)


def _threads(num_seeds: int, n: int, passes: int) -> tuple[Trace, Trace]:
    """Splash and plain averaging, which is Splash at an n-th of the rate: one run for both."""
    rates = [*RATES, *(rate / n for rate in RATES)]
    both = walk(
        _problem(rates, num_seeds),
        Splash(sync_every=NUM_EXAMPLES // n),
        shards(num_seeds, NUM_EXAMPLES),
        num_replicas=n,
        num_rounds=passes,
    )
    return both.part(slice(len(RATES))), both.part(slice(len(RATES), None))


def _batches(num_seeds: int, n: int, passes: int) -> Trace:
    """Data-parallel SGD of n threads with an example each: one replica with n of them."""
    return walk(
        _problem(BATCH_RATES, num_seeds),
        LocalSGD(sync_every=1),
        shards(num_seeds, NUM_EXAMPLES, n),
        num_rounds=passes * NUM_EXAMPLES // n,
        every=max(1, NUM_EXAMPLES // n // 16),
    )
