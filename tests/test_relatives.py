"""SlowMo, PAPA and EAMSGD: against their papers, and their known special cases."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from parle_ray.schedules import Geometric
from parle_ray.strategies import PAPA, ElasticSGD, LocalSGD, SlowMo, Strategy
from tests import reference_relatives as paper
from tests.problems import START, gradient_of, run, sgd, squares
from tests.reference import constant
from tests.relatives import PLAIN, K, check_against
from tests.test_identities import NESTEROV, ROUNDING, torch_sgd

CASES: dict[str, tuple[Callable[..., Any], Strategy, dict[str, Any]]] = {
    "SlowMo": (
        functools.partial(paper.slowmo, L=2, alpha=constant(1.0), beta=0.7),
        SlowMo(sync_every=2),
        NESTEROV,
    ),
    "SlowMo, annealed": (
        functools.partial(paper.slowmo, L=3, alpha=lambda k: 0.5 ** (k / (K - 1)), beta=0.4),
        SlowMo(sync_every=3, outer_lr=Geometric(1.0, 0.5), outer_momentum=0.4),
        PLAIN,
    ),
    "PAPA": (
        functools.partial(paper.papa, L=3, alpha=0.6),
        PAPA(sync_every=3, alpha=0.6),
        NESTEROV,
    ),
}


@pytest.mark.parametrize("decay", [1.0, 0.8], ids=["constant rate", "falling rate"])
@pytest.mark.parametrize("case", CASES)
def test_simulate_equals_the_paper(case: str, decay: float) -> None:
    check_against(*CASES[case], decay)


def test_slowmo_that_jumps_without_momentum_is_local_sgd() -> None:
    ours = run(SlowMo(sync_every=4, outer_momentum=0.0), num_replicas=3).master
    theirs = run(LocalSGD(sync_every=4), num_replicas=3).master
    torch.testing.assert_close(ours, theirs, **ROUNDING)


def test_slowmo_of_one_plain_step_on_one_replica_is_sgd_with_heavy_ball_momentum() -> None:
    ours = run(SlowMo(sync_every=1, outer_momentum=0.9), num_replicas=1, num_rounds=7).master
    torch.testing.assert_close(ours, torch_sgd(7, 0.1, momentum=0.9), **ROUNDING)


def test_papa_that_keeps_nothing_of_itself_is_local_sgd_bit_for_bit() -> None:
    ours, theirs = (
        run(strategy, num_replicas=3, inner_optimizer_fn=sgd(**NESTEROV))
        for strategy in (PAPA(sync_every=4, alpha=0.0), LocalSGD(sync_every=4))
    )
    assert torch.equal(ours.master, theirs.master)
    assert torch.equal(torch.stack(ours.replicas), torch.stack(theirs.replicas))


def test_papa_of_one_is_sgd_bit_for_bit() -> None:
    ours = run(PAPA(sync_every=4), num_replicas=1, inner_optimizer_fn=sgd(**NESTEROV)).master
    assert torch.equal(ours, torch_sgd(12, 0.1, **NESTEROV))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_elastic_sgd_with_a_nesterov_optimiser_is_eamsgd(momentum: float) -> None:
    outcome = run(
        ElasticSGD(sync_every=2, moving_rate=0.2),
        inner_optimizer_fn=sgd(0.1, momentum=momentum, nesterov=momentum > 0.0),
        num_replicas=3,
        num_rounds=K,
    )
    centre, replicas = paper.eamsgd(
        gradient_of(squares), START, 3, K, L=2, eta=0.1, delta=momentum, alpha=0.2
    )
    np.testing.assert_allclose(outcome.master.numpy(), centre, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.stack(outcome.replicas), np.stack(replicas), rtol=0, atol=1e-12)
