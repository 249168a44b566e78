"""How replicas lie to their master and to each other, as every round reports it."""

import math

import pytest
import torch

from parle_ray.flatness import distances, overlaps
from parle_ray.metrics import overlap
from parle_ray.strategies import SGD, DiLoCo, LocalSGD, Parle, Strategy
from tests.cuts import Crew
from tests.problems import run, task


@pytest.mark.parametrize("strategy", [Parle(sync_every=2), LocalSGD(sync_every=3)])
def test_the_overlap_of_a_round_is_the_mean_product_of_two_replicas_by_the_mean_square(
    strategy: Strategy,
) -> None:
    report = run(strategy, num_replicas=3, num_rounds=1).history[-1]
    crew = Crew(task(strategy, num_replicas=3, num_rounds=1).fitted_to(3))
    crew.play(1)
    vectors = torch.stack([learner.vector for learner in crew.learners])
    products = vectors @ vectors.T
    squares = products.diagonal().sum().item()
    assert report["overlap"] == pytest.approx((products.sum().item() - squares) / 2 / squares)
    assert report["overlap"] < 0.999


@pytest.mark.parametrize("strategy", [LocalSGD(sync_every=3), DiLoCo(sync_every=3)])
def test_the_distance_is_that_to_the_master_also_where_it_is_not_the_mean(
    strategy: Strategy,
) -> None:
    report = run(strategy, num_replicas=3, num_rounds=1).history[-1]
    crew = Crew(task(strategy, num_replicas=3, num_rounds=1).fitted_to(3))
    crew.play(1)
    apart = distances([learner.vector for learner in crew.learners], crew.master.vector)
    assert report["distance"] == pytest.approx(math.sqrt(sum(d * d for d in apart) / 3))


def test_vectors_of_one_length_have_their_mean_cosine_as_overlap() -> None:
    vectors = [
        torch.randn(50, generator=torch.Generator().manual_seed(i)).double() + 1.0 for i in range(4)
    ]
    vectors = [v / v.norm() for v in vectors]
    mean = torch.stack(vectors).mean(0)
    gap = sum((v - mean).square().sum().item() for v in vectors) / 4
    distance = math.sqrt(gap) / mean.norm().item()
    assert overlap(distance, 4) == pytest.approx(sum(overlaps(vectors)) / 6)


@pytest.mark.parametrize(
    ("strategy", "replicas"), [(Parle(), 1), (SGD(), 2), (DiLoCo(sync_every=2), 2)]
)
def test_where_no_two_replicas_make_the_master_there_is_no_overlap(
    strategy: Strategy, replicas: int
) -> None:
    assert "overlap" not in run(strategy, num_replicas=replicas).history[-1]
