"""All measures of one solution, and of the replicas that it was made of."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from parle_ray.errors import InputError
from parle_ray.evaluate import Evaluator
from parle_ray.flatness.curvature import top_eigenvalue, trace
from parle_ray.flatness.directions import filter_normalised, rise
from parle_ray.flatness.ensemble import Ensemble
from parle_ray.flatness.landscape import Landscape
from parle_ray.flatness.smoothing import smoothed


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How much is drawn, and from where.

    Attributes:
        directions: random directions, filter by filter as long as the weights.
        radii: how far to go along each, in lengths of the filters.
        gammas: variances of the noise for smoothed loss and local entropy.
        pairs: draws of the noise for each gamma, each taken with both signs.
        probes: of the trace.
        iterations: of the power iteration, at most.
        seed: of all that is drawn; runs of one network are asked along the same directions.
    """

    directions: int = 5
    radii: tuple[float, ...] = (0.1, 0.2, 0.4)
    gammas: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    pairs: int = 10
    probes: int = 20
    iterations: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("directions", "pairs", "probes", "iterations"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("radii", "gammas"):
            for value in getattr(self, name):
                if not 0.0 < value < float("inf"):
                    raise InputError(f"{name}: each must be > 0 and finite, got {value}")
        if self.seed < 0:
            raise InputError(f"seed must be >= 0, got {self.seed}")


def measure(landscape: Landscape, x: Tensor, measures: Measures) -> dict[str, Any]:
    """Loss and error at x, `(num_params,)`, and how they change around it, as JSON has it."""
    drawn = [torch.Generator().manual_seed(measures.seed * 4 + i) for i in range(4)]
    directions = [
        filter_normalised(landscape.flat, x, drawn[0]) for _ in range(measures.directions)
    ]
    times = partial(landscape.hessian_times, x)
    start = torch.randn(x.shape, generator=drawn[1], dtype=x.dtype).to(x.device)
    top = top_eigenvalue(times, start, iterations=measures.iterations)
    around = [smoothed(landscape, x, gamma, measures.pairs, drawn[3]) for gamma in measures.gammas]
    return {
        **asdict(landscape.at(x)),
        "norm": x.norm().item(),
        "rise": [asdict(told) for told in rise(landscape, x, directions, measures.radii)],
        "top_eigenvalue": asdict(top),
        "trace": asdict(trace(times, x, measures.probes, drawn[2])),
        "smoothed": [asdict(told) for told in around],
    }


def evaluate_replicas(evaluator: Evaluator, replicas: Sequence[Tensor]) -> dict[str, Any]:
    """What the task's evaluation gives of each replica, of their mean, and of all together.

    Batch-norm statistics are estimated afresh for each, as for the master.

    Returns:
        `replicas`, a list; `mean`, of the mean of their parameters; `ensemble`, of the mean of
        their probabilities.
    """
    told, members = [], []
    for x_a in replicas:
        told.append(evaluator.evaluate(x_a))
        members.append(copy.deepcopy(evaluator.module))
    return {
        "replicas": told,
        "mean": evaluator.evaluate(torch.stack([*replicas]).mean(0)),
        "ensemble": evaluator.score(Ensemble(members).eval()),
    }
