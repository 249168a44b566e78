"""Splash: against its paper, and where its round is a pass over all data."""

import functools

import pytest
import torch

from parle_ray.strategies import LocalSGD, Splash
from tests import reference_relatives as paper
from tests.problems import Batch, run, sgd
from tests.relatives import HEAVY, check_against
from tests.test_identities import NESTEROV, ROUNDING, torch_sgd


@pytest.mark.parametrize(("max_weight", "weight"), [(1.5, 1.5), (9.0, 3.0)])
def test_simulate_equals_the_paper(max_weight: float, weight: float) -> None:
    splash = functools.partial(paper.splash, L=3, m=weight)
    check_against(splash, Splash(sync_every=3, max_weight=max_weight), HEAVY, 0.8)


def orthogonal(rank: int, num_replicas: int) -> list[Batch]:
    """The examples of a shard, one a mini-batch; all rows of all shards are orthogonal."""
    random = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(6, 6, generator=random, dtype=torch.float64))[0]
    targets = torch.randn(6, generator=random, dtype=torch.float64)
    mine = range(rank * 6 // num_replicas, (rank + 1) * 6 // num_replicas)
    return [(rows[i : i + 1], targets[i : i + 1]) for i in mine]


def test_one_round_of_splash_on_orthogonal_shards_is_a_pass_over_all_data() -> None:
    split = run(Splash(sync_every=2), num_replicas=3, num_rounds=1, batches_fn=orthogonal)
    whole = run(LocalSGD(sync_every=6), num_replicas=1, num_rounds=1, batches_fn=orthogonal)
    torch.testing.assert_close(split.master, whole.master, **ROUNDING)


def test_one_replica_of_splash_is_sgd_and_so_is_a_weight_of_one_local_sgd() -> None:
    ours = run(Splash(sync_every=4), num_replicas=1, inner_optimizer_fn=sgd(**NESTEROV)).master
    assert torch.equal(ours, torch_sgd(12, 0.1, **NESTEROV))
    ours = run(Splash(sync_every=4, max_weight=1), num_replicas=3).master
    assert torch.equal(ours, run(LocalSGD(sync_every=4), num_replicas=3).master)
