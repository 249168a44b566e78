"""What the tests of Parle's relatives share: a strategy against the slow text of its paper."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from parle_ray.strategies import Strategy
from tests.problems import START, gradient_of, run, sgd, squares
from tests.reference import Momentum

K = 4
"""Rounds of every comparison."""

PLAIN: dict[str, Any] = {}
HEAVY: dict[str, Any] = {"momentum": 0.9}


def check_against(
    algorithm: Callable[..., Any], strategy: Strategy, options: dict[str, Any], decay: float
) -> None:
    """The model and three replicas are those of `reference_relatives`; lr is `0.1 decay^k`."""
    outcome = run(
        strategy,
        inner_optimizer_fn=sgd(0.1, **options),
        lr_scheduler_fn=lambda inner: torch.optim.lr_scheduler.ExponentialLR(inner, decay),
        num_replicas=3,
        num_rounds=K,
    )
    inner = functools.partial(Momentum, lambda k: 0.1 * decay**k, **options)
    model, replicas = algorithm(gradient_of(squares), START, 3, K, inner)
    np.testing.assert_allclose(outcome.model.numpy(), model, rtol=0, atol=1e-12)
    for ours, theirs in zip(outcome.replicas, replicas, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)
