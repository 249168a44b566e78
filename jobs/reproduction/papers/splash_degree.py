"""Splash's automatic degree of parallelism beside degrees that are fixed, all at one rate."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import torch

from jobs.reproduction.papers.digits import NUM_EXAMPLES
from jobs.reproduction.papers.found import Claim
from jobs.reproduction.papers.side_by_side import Problem, Shard, Trace, shards, times, walk
from parle_ray.strategies import AutoSplash, LocalSGD
from parle_ray.task import BatchesFn

FIXED = (1, 2, 4, 8, 16, 32, 64)
PASSES = 48
NEAR = 1.25
"""So many times the lowest loss is as good as it."""


class Degrees:
    """Runs of n threads, a local pass a round.

    Args:
        problem: of rates and a number of seeds.
        num_seeds: runs of each degree.
        n: threads, and the highest of `FIXED`.
        rate: of single examples.

    Attributes:
        found: with the degree that the run finds.
        fixed: with those of `FIXED`, in the place of rates.
        best: which of them ends lowest.
    """

    def __init__(
        self, problem: Callable[[list[float], int], Problem], num_seeds: int, n: int, rate: float
    ) -> None:
        data, self._n, self._rate = shards(num_seeds, NUM_EXAMPLES), n, rate
        length = NUM_EXAMPLES // n
        self.fixed = walk(  # averaging at m times the rate
            problem([m * rate for m in FIXED], num_seeds),
            LocalSGD(sync_every=length),
            data,
            num_replicas=n,
            num_rounds=PASSES,
        )
        self.best = self.fixed.best_at(PASSES * length)
        alone = [  # seed by seed, for a degree depends on all losses of a run
            walk(
                problem([rate], 1),
                AutoSplash(sync_every=length),
                one_seed(data, seed),
                num_replicas=n,
                num_rounds=PASSES,
            )
            for seed in range(num_seeds)
        ]
        values = torch.stack([trace.values for trace in alone]).mean(0)
        self.found = replace(alone[0], values=values)

    def curves(self) -> list[pd.DataFrame]:
        """Of the degree that is found, and of the best that is fixed."""
        name = f"Splash, n = {self._n}, one rate"
        return [
            self.found.curve(f"{name}, degree found"),
            self._fixed(self.best).curve(f"{name}, best fixed degree"),
        ]

    def claim(self, alone: Trace) -> Claim:
        """Beside one thread."""
        last, target, told = len(FIXED) - 1, alone.at(NUM_EXAMPLES), []
        runs = {
            "the degree found": self.found,
            f"the best fixed one, {FIXED[self.best]}": self._fixed(self.best),
            f"{FIXED[last]}": self._fixed(last),
        }
        for name, trace in runs.items():
            gain = times(trace.gain_on(alone, target))
            told.append(f"{trace.best[-1].item():.2f} and {gain} with {name}")
        own, best, highest = (trace.best[-1].item() for trace in runs.values())
        return Claim(
            says="it finds the degree of parallelism by itself, by trials on data held out",
            published="no figure",
            ours=f"n = {self._n} at one thread's best rate, {self._rate}: loss after {PASSES} "
            f"passes, and gain to one thread's loss after a pass, {'; '.join(told)}",
            kept=own <= NEAR * best and own < highest,
            why="A degree is a factor of the rate here, and its trials have to pay for themselves.",
        )

    def _fixed(self, column: int) -> Trace:
        return self.fixed.part(slice(column, column + 1))


def one_seed(data: BatchesFn, seed: int) -> BatchesFn:
    """What replicas have in one of the runs of `shards`."""

    def batches_fn(rank: int, num_replicas: int) -> Shard:
        shard = data(rank, num_replicas)
        assert isinstance(shard, Shard)
        return replace(shard, indices=shard.indices[seed : seed + 1])

    return batches_fn
