"""A tree gives the mean of a flat fold, and bits that depend on the size of its groups alone."""

import math
from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import ray
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray.train import ScalingConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import Tensor

from parle_ray import ParleTrainer
from parle_ray.cluster.placement import scheduling
from parle_ray.errors import Diverged, InputError
from parle_ray.fold import Fold, Pushed, Term
from parle_ray.master import Master
from parle_ray.membership.ledger import Fate
from parle_ray.strategies import LocalSGD, Parle, Strategy
from parle_ray.tree import Elsewhere, fold_group, fold_groups, grouped
from tests.problems import NUM_PARAMS, run, task
from tests.test_contract import ROWS

ONES = dict.fromkeys(range(9), 1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def folded(vectors: list[Tensor], size: int, weights: Mapping[int, int] = ONES) -> Pushed:
    """The fold of the folds of every `size` vectors."""
    groups = grouped(dict(enumerate(vectors)), size)
    top, num_params = Fold(vectors[0]), len(vectors[0])
    terms = {rank: Term(weight, slice(0, num_params)) for rank, weight in weights.items()}
    for group in groups.values():
        pushed = fold_group(Fold(vectors[0]), num_params, group, terms).pushed
        assert pushed is not None
        assert top.add(pushed.mean, pushed.count, pushed.spread)
    return top.close()


@given(
    weights=st.lists(st.integers(1, 500), min_size=1, max_size=9),
    size=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_the_means_of_groups_give_mean_and_spread_of_all(
    weights: list[int], size: int, seed: int
) -> None:
    vectors = normal(len(weights), 20, seed=seed) + 10.0
    pushed = folded(list(vectors), size, dict(enumerate(weights)))
    numbers = vectors.numpy()
    mean = np.average(numbers, axis=0, weights=weights)
    np.testing.assert_allclose(pushed.mean, mean, rtol=1e-12)
    assert pushed.count == sum(weights)
    gaps = float(np.square(numbers - mean).sum(1) @ weights)
    assert pushed.spread == pytest.approx(gaps, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_equal_vectors_come_back_exactly(size: int) -> None:
    vector = normal(1000).float()
    pushed = folded([vector.clone() for _ in range(7)], size)
    assert torch.equal(pushed.mean, vector)
    assert pushed.spread == 0.0


def new(tree: int | None, num_replicas: int = 5, strategy: Strategy | None = None) -> Master:
    settings = {"num_replicas": num_replicas, "num_rounds": 9, "tree": tree}
    return Master(task(strategy or Parle(), **settings).fitted_to(3), range(num_replicas))


def result(master: Master) -> tuple[Any, ...]:
    replies = master.close()
    restarts = [rank for rank, reply in replies.items() if reply.restart]
    return master.vector.tolist(), master.distance, master.faults, restarts


PUSHES = list(normal(5, NUM_PARAMS, seed=4))
CASES: dict[str, dict[int, Tensor | None]] = {
    "all": {},
    "one is not finite": {2: torch.full_like(PUSHES[0], math.nan)},
    "no one of a group is": {rank: torch.full_like(PUSHES[0], math.inf) for rank in (2, 3)},
    "one had to restart": {1: None},
    "a group had to restart": {0: None, 1: None},
}
each_case = pytest.mark.parametrize("changed", CASES.values(), ids=CASES.keys())


@each_case
def test_any_order_of_arrival_gives_the_same_bits(changed: dict[int, Tensor | None]) -> None:
    pushes = dict(enumerate(PUSHES)) | changed
    results = []
    for order in permutations(range(5)):
        master = new(2)
        for rank in order:
            master.take(rank, 0, pushes[rank])
        results.append(result(master))
    assert all(one == results[0] for one in results)


@each_case
@pytest.mark.parametrize("lost", [None, 1, 4])
def test_groups_folded_elsewhere_give_the_same_bits(
    changed: dict[int, Tensor | None], lost: int | None
) -> None:
    pushes = dict(enumerate(PUSHES)) | changed
    here, elsewhere = new(2), new(2)
    elsewhere.fold_groups = lambda num_params, groups, terms: fold_groups(
        num_params,
        {index: {rank: push.where for rank, push in groups[index].items()} for index in groups},
        terms,
    )
    for rank, push in pushes.items():
        lying = None if push is None else Elsewhere(push)
        for master, answer in ((here, push), (elsewhere, lying)):
            if rank == lost:
                master.leave(rank)
            else:
                master.take(rank, 0, answer, weight=1 + rank)
    assert result(here) == result(elsewhere)
    assert here.entry == elsewhere.entry


def test_what_a_group_pushed_is_known_when_nobody_of_it_is_waited_for() -> None:
    master, group = new(2), range(2)
    master.take(1, 0, PUSHES[1])
    assert master.pushed_by(group) == {}
    master.take(0, 0, PUSHES[0])
    assert list(master.pushed_by(group)) == [0, 1]


def test_a_late_push_is_folded_in_its_group() -> None:
    late, straight = new(2, strategy=LocalSGD()), new(2, strategy=LocalSGD())
    for rank in (0, 2, 3, 4):
        late.take(rank, 0, PUSHES[rank])
    late.close()  # without replica 1, for which the others have waited long enough
    for rank in (4, 3, 2, 0):
        late.take(rank, 1, PUSHES[rank])
    late.take(1, 0, PUSHES[1])
    late.close()
    for rank in range(5):
        straight.take(rank, 0, PUSHES[rank])
    straight.close()
    assert late.entry.num_late == 1
    assert torch.equal(late.vector, straight.vector)


def test_a_push_that_is_lost_on_its_way_counts_as_lost() -> None:
    master = new(2, strategy=LocalSGD())
    master.fold_groups = lambda num_params, groups, terms: fold_groups(
        num_params,
        {index: {r: p for r, p in groups[index].items() if r != 3} for index in groups},
        terms,
    )
    for rank in range(5):
        master.take(rank, 0, PUSHES[rank])
    master.close()
    assert master.entry.fates[3, 0] == Fate.LOST
    assert (master.entry.num_merged, master.faults, master.restart) == (4, 0, {})
    torch.testing.assert_close(master.vector, torch.stack(PUSHES)[[0, 1, 2, 4]].mean(0))


@pytest.mark.parametrize("tree", [1, 5, 9])
def test_one_group_and_groups_of_one_have_the_bits_of_no_tree(tree: int) -> None:
    flat, grouped = new(None), new(tree)
    for rank, push in enumerate(PUSHES):
        flat.take(rank, 0, push)
        grouped.take(rank, 0, push)
    assert result(flat) == result(grouped)


def test_a_group_too_far_from_the_others_is_refused_whole() -> None:
    master = new(2, 4, LocalSGD())
    for rank, value in enumerate([4e153, 4e153, -4e153, -4e153]):  # their gap has no finite square
        master.take(rank, 0, torch.full_like(master.vector, value))
    master.close()
    assert master.restart.keys() == {2, 3}


def test_when_no_group_is_finite_the_run_has_diverged() -> None:
    master = new(2)
    for rank in range(5):
        master.take(rank, 0, torch.full_like(master.vector, math.nan))
    with pytest.raises(Diverged):
        master.close()


IN_STEP = {name: row for name, row in ROWS.items() if row.strategy.synchronous}


@pytest.mark.parametrize("row", IN_STEP.values(), ids=IN_STEP.keys())
def test_a_run_with_a_tree_is_that_without_within_rounding(row: Any) -> None:
    flat = run(row.strategy, num_replicas=5, num_rounds=4)
    first, again = (run(row.strategy, num_replicas=5, num_rounds=4, tree=2) for _ in range(2))
    assert torch.equal(first.master, again.master)
    torch.testing.assert_close(first.master, flat.master, rtol=1e-9, atol=1e-12)
    distances = [[report["distance"] for report in one.history] for one in (first, flat)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("tree", [0, -1, True, 1.5, "2"])
def test_no_size_of_a_group(tree: Any) -> None:
    with pytest.raises(InputError, match="tree must be a whole number >= 1"):
        task(Parle(), tree=tree)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": "int8"}, r"tree: 2 with compression='int8'.* tree=None or compression="),
        ({"shards": 2}, r"tree: 2 with shards=2.* tree=None or shards=1"),
    ],
)
def test_what_a_tree_does_not_go_with(changes: dict[str, Any], message: str) -> None:
    fitted = task(Parle())
    functions = {
        name: getattr(fitted, name)
        for name in ("model_fn", "loss_fn", "batches_fn", "inner_optimizer_fn", "strategy")
    }
    with pytest.raises(InputError, match=message):
        ParleTrainer(
            **functions,
            num_rounds=1,
            tree=2,
            scaling_config=ScalingConfig(num_workers=4),
            **changes,
        )


def test_consecutive_ranks_lie_on_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{i:056x}" for i in (1, 2, 3)]
    nodes = [
        {"Alive": True, "NodeID": id, "Resources": {"CPU": cpus}}
        for id, cpus in zip(ids, (4.0, 2.0, 4.0), strict=True)
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    *wishes, last = scheduling("PACK", {"CPU": 2.0}, 6, in_order=True)
    assert last == "DEFAULT"  # there is no room for it yet
    assert all(isinstance(wish, NodeAffinitySchedulingStrategy) and wish.soft for wish in wishes)
    assert [wish.node_id for wish in wishes] == [ids[i] for i in (0, 0, 1, 2, 2)]
