"""`weighting="samples"`: a push counts in the mean as much as the examples that stand behind it."""

import functools
import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from parle_ray import ReplicaOptimizer
from parle_ray.cluster.states import Resume
from parle_ray.errors import InputError
from parle_ray.flatness import distances, overlaps
from parle_ray.master import Master
from parle_ray.metrics import effective, overlap
from parle_ray.runs.spec import changes, spec
from parle_ray.strategies import (
    SGD,
    STRATEGIES,
    Asynchronous,
    DiLoCo,
    ElasticSGD,
    LocalSGD,
    Parle,
    Rotation,
    Strategy,
)
from tests import reference_uneven as paper
from tests.cuts import Crew
from tests.problems import NUM_PARAMS, START, Batch, batches, gradient_of, run, sgd, squares, task
from tests.reference import Momentum, constant
from tests.test_contract import ROWS

SIZES = [2, 6, 3]
"""Rows in each mini-batch, by rank."""
X = torch.from_numpy(START).clone()
WEIGHABLE = {
    name: replace(row.strategy, weighting="samples")
    for name, row in ROWS.items()
    if row.strategy.merges_mean
}
each = pytest.mark.parametrize("strategy", WEIGHABLE.values(), ids=WEIGHABLE.keys())


def rows(rank: int, size: int) -> list[Batch]:
    """Three mini-batches of so many rows."""
    rng = np.random.default_rng(200 + rank)
    a, b = rng.normal(size=(3, size, NUM_PARAMS)), rng.normal(size=(3, size))
    return list(zip(torch.from_numpy(a), torch.from_numpy(b), strict=True))


def unequal(rank: int, num_replicas: int) -> list[Batch]:
    """Of as many rows as `SIZES` says."""
    return rows(rank, SIZES[rank])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradients_of_32_and_96_examples_are_the_gradient_of_128(momentum: float) -> None:
    of_each = [rows(0, 32), rows(1, 96)]
    whole = [tuple(map(torch.cat, zip(*pair, strict=True))) for pair in zip(*of_each, strict=True)]
    settings: dict[str, Any] = {"inner_optimizer_fn": sgd(0.1, momentum=momentum), "num_rounds": 7}
    two = run(SGD(weighting="samples"), batches_fn=lambda rank, n: of_each[rank], **settings)
    one = run(SGD(), num_replicas=1, batches_fn=lambda rank, n: whole, **settings)
    torch.testing.assert_close(two.master, one.master, rtol=0.0, atol=1e-14)
    assert two.history[-1]["loss"] == pytest.approx(one.history[-1]["loss"])
    even = run(SGD(), batches_fn=lambda rank, n: of_each[rank], **settings)
    assert not torch.allclose(even.master, one.master, rtol=0.0, atol=1e-6)


REFERENCES: dict[str, tuple[Any, Strategy]] = {
    "sgd": (paper.sgd, SGD(sync_every=2)),
    "federated averaging": (
        functools.partial(paper.diloco, eta=constant(1.0), mu=0.0),
        LocalSGD(sync_every=2),
    ),
    "diloco": (
        functools.partial(paper.diloco, eta=constant(0.4), mu=0.5),
        DiLoCo(sync_every=2, outer_lr=0.4, outer_momentum=0.5),
    ),
    "parle": (
        functools.partial(paper.parle, gamma=10.0, rho=4.0, alpha=0.75, eta=constant(0.4), mu=0.5),
        Parle(sync_every=2, gamma=10.0, outer_lr=0.4, outer_momentum=0.5),
    ),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_simulate_equals_the_equations(case: str) -> None:
    algorithm, strategy = REFERENCES[case]
    outcome = run(
        replace(strategy, weighting="samples"),
        batches_fn=unequal,
        inner_optimizer_fn=sgd(0.1, momentum=0.9, nesterov=True),
        num_replicas=3,
        num_rounds=4,
    )
    inner = functools.partial(Momentum, constant(0.1), momentum=0.9, nesterov=True)
    gradient = gradient_of(squares, unequal)
    model, replicas = algorithm(gradient, START, inner, steps=[[2, 2, 2]] * 4, sizes=SIZES)
    np.testing.assert_allclose(outcome.master.numpy(), model, rtol=0, atol=1e-12)
    for ours, theirs in zip(outcome.replicas, replicas, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)


@each
def test_replicas_that_saw_equally_much_give_the_bits_of_no_weights(strategy: Strategy) -> None:
    weighted = run(strategy, num_replicas=3)
    plain = run(replace(strategy, weighting="replicas"), num_replicas=3)
    assert torch.equal(weighted.master, plain.master)
    assert torch.equal(torch.stack(weighted.replicas), torch.stack(plain.replicas))
    for ours, theirs in zip(weighted.history, plain.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-15)


@each
def test_a_replica_that_counts_twice_is_two_replicas(strategy: Strategy) -> None:
    if hasattr(strategy, "max_weight"):
        strategy = replace(strategy, max_weight=2.0)  # which is else the number of replicas

    def doubled(rank: int, num_replicas: int) -> list[Batch]:
        if rank == 1:
            return batches(1, num_replicas)
        return [(torch.cat([a, a]), torch.cat([b, b])) for a, b in batches(0, num_replicas)]

    def twice(rank: int, num_replicas: int) -> list[Batch]:
        return batches(rank // 2, num_replicas)

    two = run(strategy, batches_fn=doubled)
    three = run(replace(strategy, weighting="replicas"), num_replicas=3, batches_fn=twice)
    torch.testing.assert_close(two.master, three.master, rtol=0.0, atol=1e-13)
    torch.testing.assert_close(two.replicas[1], three.replicas[2], rtol=0.0, atol=1e-13)
    for name in ("loss", "distance"):
        ours, theirs = ([report[name] for report in one.history] for one in (two, three))
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@each
def test_ranks_are_only_names_whatever_they_weigh(strategy: Strategy) -> None:
    order = [1, 2, 0]
    ours = run(strategy, num_replicas=3, batches_fn=unequal)
    permuted = run(strategy, num_replicas=3, batches_fn=lambda r, n: unequal(order[r], n))
    torch.testing.assert_close(permuted.master, ours.master, rtol=0.0, atol=1e-12)
    even = run(replace(strategy, weighting="replicas"), num_replicas=3, batches_fn=unequal)
    assert not torch.allclose(even.master, ours.master, rtol=0.0, atol=1e-6)


@each
def test_a_tree_changes_no_more_than_the_rounding(strategy: Strategy) -> None:
    flat, grouped = (run(strategy, num_replicas=3, batches_fn=unequal, tree=k) for k in (None, 2))
    torch.testing.assert_close(flat.master, grouped.master, rtol=1e-9, atol=1e-12)
    assert flat.history[-1] == pytest.approx(grouped.history[-1], rel=1e-6, abs=1e-9)


def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits() -> None:
    fitted = task(
        LocalSGD(sync_every=2, weighting="samples"), batches_fn=unequal, num_replicas=3
    ).fitted_to(3)
    through, stopped = Crew(fitted), Crew(fitted)
    through.play(3)
    stopped.play(2)
    states = stopped.cut()
    again = Crew(fitted, Resume(round=2, master=states["master"], replicas=states["replicas"]))
    again.play(1)
    assert torch.equal(again.bits(), through.bits())
    simulated = run(fitted.strategy, batches_fn=unequal, num_replicas=3)
    assert torch.equal(again.master.vector, simulated.master)


def new(strategy: Strategy, num_replicas: int = 3) -> Master:
    fitted = task(strategy, num_replicas=num_replicas, num_rounds=9).fitted_to(3)
    return Master(fitted, range(num_replicas))


def test_any_order_of_arrival_gives_the_same_bits() -> None:
    results = set()
    for order in permutations(range(3)):
        master = new(LocalSGD(weighting="samples"))
        for rank in order:
            master.take(rank, 0, X + rank, weight=SIZES[rank])
        master.close()
        results.add((tuple(master.vector.tolist()), master.distance))
    assert len(results) == 1
    expected = X + sum(rank * size for rank, size in enumerate(SIZES)) / sum(SIZES)
    torch.testing.assert_close(master.vector, expected)


def test_a_late_push_counts_for_the_examples_of_its_own_round() -> None:
    master = new(LocalSGD(weighting="samples"), 2)
    master.take(0, 0, X, weight=4)
    master.close()  # without replica 1, for which the others have waited long enough
    master.take(0, 1, X + 1.0, weight=1)
    master.take(1, 0, X + 5.0, weight=3)
    master.close()
    assert master.entry.num_late == 1
    torch.testing.assert_close(master.vector, X + 4.0)


def test_the_newest_push_of_a_replica_brings_its_own_weight() -> None:
    master = new(LocalSGD(weighting="samples"), 2)
    master.take(0, 0, X, weight=1)
    master.close()
    master.take(1, 0, X + 9.0, weight=100)
    master.take(1, 1, X + 4.0, weight=1)
    master.take(0, 1, X, weight=3)
    master.close()
    torch.testing.assert_close(master.vector, X + 1.0)


def test_distance_and_overlap_are_means_by_weight() -> None:
    vectors = [X + rank * X.flip(0) for rank in range(3)]
    vectors = [v / v.norm() for v in vectors]
    master = new(LocalSGD(weighting="samples"))
    for rank, vector in enumerate(vectors):
        master.take(rank, 0, vector, weight=SIZES[rank])
    master.close()
    squares = np.square(distances(vectors, master.vector))
    assert master.distance == pytest.approx(math.sqrt(np.average(squares, weights=SIZES)))
    pairs = [SIZES[a] * SIZES[b] for a, b in ((0, 1), (0, 2), (1, 2))]
    cosine = np.average(overlaps(vectors), weights=pairs)
    assert overlap(master.distance, effective(SIZES)) == pytest.approx(cosine)


@pytest.mark.parametrize(("num_samples", "weight"), [(0, 1), (1, 1), (96, 96)])
def test_a_push_counts_for_its_examples_and_for_one_at_least(num_samples: int, weight: int) -> None:
    assert LocalSGD(weighting="samples").weight(num_samples) == weight
    assert LocalSGD().weight(num_samples) == 1


@pytest.mark.parametrize(
    "kind",
    [Rotation, functools.partial(ElasticSGD, moving_rate=0.2), Asynchronous],
)
def test_what_is_no_mean_cannot_be_weighted(kind: Any) -> None:
    with pytest.raises(InputError, match=r"weighting: 'samples' .* no mean .* use 'replicas'"):
        kind(weighting="samples")


def test_all_strategies_in_step_can_be_weighted_but_rotation() -> None:
    weighable = {name for name, kind in STRATEGIES.items() if kind().merges_mean}
    asynchronous = {name for name, kind in STRATEGIES.items() if not kind.synchronous}
    assert weighable == STRATEGIES.keys() - asynchronous - {"rotation"}


def test_a_loop_of_ones_own_is_told_that_nobody_sees_its_batches() -> None:
    module = torch.nn.Linear(2, 1)
    inner = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"weighting: 'samples' .* use 'replicas' here"):
        ReplicaOptimizer(module, inner, LocalSGD(weighting="samples"))


def test_a_checkpoint_of_an_older_release_was_made_without_weights() -> None:
    now = spec(task(LocalSGD()), {}, {"CPU": 1})
    was = {name: value for name, value in now.items() if name != "strategy.weighting"}
    assert changes(was, now) == []
    weighted = spec(task(LocalSGD(weighting="samples")), {}, {"CPU": 1})
    assert changes(was, weighted) == ["strategy.weighting was replicas, is samples"]
