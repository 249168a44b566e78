"""The package computes what the papers say: `simulate` against `reference.py`, in float64."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from parle_ray.schedules import Constant, Cosine, Geometric, Scoping
from parle_ray.strategies import SGD, DiLoCo, ElasticSGD, EntropySGD, LocalSGD, Parle
from tests import reference as paper
from tests.problems import START, gradient_of, logistic, run, sgd, squares

K = 4
"""Rounds of every comparison."""

PLAIN: dict[str, Any] = {}
HEAVY: dict[str, Any] = {"momentum": 0.9}
NESTEROV: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}

c = paper.constant
CASES: dict[str, tuple[Any, Callable[..., Any], dict[str, Any]]] = {
    "Parle, the paper's numbers": (
        Parle(sync_every=8, gamma=100.0, rho=1.0, outer_lr=0.1),
        functools.partial(
            paper.parle,
            L=8,
            gamma=c(100),
            rho=c(1),
            alpha=0.75,
            eta=c(0.1),
            mu=0.7,
            reference="master",
        ),
        NESTEROV,
    ),
    "Parle, the paper's scoping": (
        Parle(
            sync_every=3,
            gamma=Scoping(100.0, floor=1.0, batches_per_pass=1),
            rho=Scoping(1.0, floor=0.1),  # B = 3, from the data
            outer_lr=Cosine(0.3, 0.1),
        ),
        functools.partial(
            paper.parle,
            L=3,
            gamma=paper.scoping(100, 1, 1),
            rho=paper.scoping(1, 0.1, 3),
            alpha=0.75,
            eta=paper.cosine(0.3, 0.1, K),
            mu=0.7,
            reference="master",
        ),
        NESTEROV,
    ),
    "Parle, annealed by progress": (
        Parle(sync_every=10, gamma=Geometric(100.0, 1.0), rho=1.0, outer_lr=Cosine(0.3)),
        functools.partial(
            paper.parle,
            L=10,
            gamma=paper.geometric(100, 1, K),
            rho=c(1),
            alpha=0.75,
            eta=paper.cosine(0.3, 0, K),
            mu=0.7,
            reference="master",
        ),
        HEAVY,
    ),
    "Parle, one step a round, no momentum": (
        Parle(sync_every=1, gamma=0.5, rho=0.3, alpha=0.2, outer_lr=0.2, outer_momentum=0.0),
        functools.partial(
            paper.parle,
            L=1,
            gamma=c(0.5),
            rho=c(0.3),
            alpha=0.2,
            eta=c(0.2),
            mu=0,
            reference="master",
        ),
        PLAIN,
    ),
    "Parle against the mean of z, as the authors ran it": (
        Parle(sync_every=4, gamma=2.0, rho=Geometric(1.0, 0.1), outer_lr=0.1, reference="mean_z"),
        functools.partial(
            paper.parle,
            L=4,
            gamma=c(2),
            rho=paper.geometric(1, 0.1, K),
            alpha=0.75,
            eta=c(0.1),
            mu=0.7,
            reference="mean_z",
        ),
        NESTEROV,
    ),
    "Parle uncoupled": (
        Parle(sync_every=4, gamma=math.inf, rho=math.inf, alpha=0.0, outer_lr=Constant(0.5)),
        functools.partial(
            paper.parle,
            L=4,
            gamma=c(math.inf),
            rho=c(math.inf),
            alpha=0.0,
            eta=c(0.5),
            mu=0.7,
            reference="master",
        ),
        HEAVY,
    ),
    "Entropy-SGD, annealed by progress": (
        EntropySGD(sync_every=6, gamma=Geometric(100.0, 1.0), outer_lr=Cosine(0.3)),
        functools.partial(
            paper.entropy_sgd,
            L=6,
            gamma=paper.geometric(100, 1, K),
            alpha=0.75,
            eta=paper.cosine(0.3, 0, K),
            mu=0.7,
        ),
        NESTEROV,
    ),
    "Entropy-SGD of its first paper": (
        EntropySGD(sync_every=5, gamma=Scoping(2.0, floor=0.5), outer_lr=1.0, outer_momentum=0.0),
        functools.partial(
            paper.entropy_sgd, L=5, gamma=paper.scoping(2, 0.5, 3), alpha=0.75, eta=c(1), mu=0
        ),
        PLAIN,
    ),
    "Elastic-SGD of Parle's paper": (
        ElasticSGD(),
        functools.partial(paper.elastic_sgd, L=1, rho=paper.scoping(1, 0.1, 3)),
        NESTEROV,
    ),
    "Elastic-SGD, four steps a round": (
        ElasticSGD(sync_every=4, rho=Cosine(1.0, 0.2)),
        functools.partial(paper.elastic_sgd, L=4, rho=paper.cosine(1, 0.2, K)),
        PLAIN,
    ),
    "EASGD": (
        ElasticSGD(sync_every=2, moving_rate=0.3),
        functools.partial(paper.elastic_sgd, L=2, moving_rate=0.3),
        HEAVY,
    ),
    "SGD": (SGD(), functools.partial(paper.sgd, L=1), NESTEROV),
    "SGD with accumulated gradients": (SGD(sync_every=3), functools.partial(paper.sgd, L=3), PLAIN),
    "local SGD": (LocalSGD(sync_every=4), functools.partial(paper.local_sgd, L=4), NESTEROV),
    "DiLoCo": (
        DiLoCo(sync_every=4),
        functools.partial(paper.diloco, L=4, eta=c(0.7), mu=0.9),
        HEAVY,
    ),
    "DiLoCo, annealed, no outer momentum": (
        DiLoCo(sync_every=2, outer_lr=Geometric(1.0, 0.1), outer_momentum=0.0),
        functools.partial(paper.diloco, L=2, eta=paper.geometric(1, 0.1, K), mu=0),
        NESTEROV,
    ),
}


@pytest.mark.parametrize("num_replicas", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_simulate_equals_the_paper(case: str, num_replicas: int) -> None:
    strategy, algorithm, options = CASES[case]
    outcome = run(
        strategy,
        inner_optimizer_fn=sgd(0.1, **options),
        num_replicas=num_replicas,
        num_rounds=K,
    )
    inner = functools.partial(paper.Momentum, c(0.1), **options)
    master, replicas = algorithm(gradient_of(squares), START, num_replicas, K, inner)
    np.testing.assert_allclose(outcome.master.numpy(), master, rtol=0, atol=1e-12)
    for ours, theirs in zip(outcome.replicas, replicas, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_a_learning_rate_schedule_steps_once_a_round(case: str) -> None:
    strategy, algorithm, options = CASES[case]
    outcome = run(
        strategy,
        loss_fn=logistic,
        inner_optimizer_fn=sgd(0.2, **options),
        lr_scheduler_fn=lambda inner: torch.optim.lr_scheduler.ExponentialLR(inner, 0.8),
        num_rounds=K,
    )
    inner = functools.partial(paper.Momentum, lambda k: 0.2 * 0.8**k, **options)
    master, _ = algorithm(gradient_of(logistic), START, 2, K, inner)
    np.testing.assert_allclose(outcome.master.numpy(), master, rtol=0, atol=1e-12)
    rates = [report["lr"] for report in outcome.history]
    np.testing.assert_allclose(rates, [0.2 * 0.8**k for k in range(K)], rtol=1e-14)


@pytest.mark.parametrize("loss_fn", [squares, logistic])
def test_the_gradients_by_hand_are_those_of_autograd(loss_fn: Callable[..., Any]) -> None:
    outcome = run(SGD(), loss_fn=loss_fn, inner_optimizer_fn=sgd(1.0), num_replicas=1, num_rounds=1)
    by_hand = START - gradient_of(loss_fn)(0, 0, START)
    np.testing.assert_allclose(outcome.master.numpy(), by_hand, rtol=0, atol=1e-14)
