"""The fold is the mean, in any order of arrival, in blocks or in one go."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from parle_ray import equations
from parle_ray.equations import BLOCK, add_proximal_, blocks, norm_squared, trade_
from parle_ray.fold import Fold
from parle_ray.master import Master
from parle_ray.strategies import DiLoCo, LocalSGD, Parle, Strategy
from tests.problems import START, task

X = torch.from_numpy(START).clone()


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(
    weights=st.lists(st.integers(1, 500), min_size=1, max_size=9),
    size=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_it_is_mean_and_spread(weights: list[int], size: int, seed: int) -> None:
    vectors = normal(len(weights), size, seed=seed)
    fold = Fold(vectors[0])
    assert all(fold.add(v, weight) for v, weight in zip(vectors, weights, strict=True))
    pushed, w = fold.close(), torch.tensor(weights, dtype=torch.float64)
    mean = w @ vectors / sum(weights)
    torch.testing.assert_close(pushed.mean, mean, rtol=1e-12, atol=1e-12)
    assert pushed.count == sum(weights)
    gaps = (w @ (vectors - mean).square()).sum().item()
    assert pushed.spread == pytest.approx(gaps, rel=1e-9, abs=1e-12)


@given(n=st.integers(1, 9), weight=st.integers(1, 2**62), seed=st.integers(0, 99))
def test_equal_weights_give_the_bits_of_none(n: int, weight: int, seed: int) -> None:
    vectors = normal(n, 40, seed=seed)
    plain, weighted = Fold(vectors[0]), Fold(vectors[0])
    for vector in vectors:
        plain.add(vector)
        weighted.add(vector, weight)
    assert torch.equal(plain.close().mean, weighted.close().mean)
    spread = weighted.close().spread / weight
    assert spread == pytest.approx(plain.close().spread, rel=1e-12)


@given(
    pushes=st.lists(
        st.tuples(st.integers(1, 500), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9
    ),
    seed=st.integers(0, 99),
)
def test_a_stretch_counts_as_the_vector_that_is_zero_elsewhere(
    pushes: list[tuple[int, int, int]], seed: int
) -> None:
    stretches, wholes = Fold(normal(9)), Fold(normal(9))
    for vector, (weight, *marks) in zip(normal(len(pushes), 9, seed=seed), pushes, strict=True):
        place = slice(*sorted(marks))
        whole = torch.zeros_like(vector)
        whole[place] = vector[place]
        assert stretches.add(vector[place], weight, place=place)
        assert wholes.add(whole, weight)
    one, other = stretches.close(), wholes.close()
    assert torch.equal(one.mean, other.mean)
    assert (one.count, one.spread) == (other.count, other.spread)


def test_equal_vectors_come_back_exactly() -> None:
    vector = normal(1000, dtype=torch.float32)
    fold = Fold(vector)
    for _ in range(7):
        fold.add(vector.clone())
    assert torch.equal(fold.close().mean, vector)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_leaves_no_trace(at: int, bad: float) -> None:
    vectors = list(normal(3, 50))
    broken = normal(50, seed=1)
    broken[7] = bad
    fold, clean = Fold(vectors[0]), Fold(vectors[0])
    for i, vector in enumerate(vectors):
        if i == at:
            assert not fold.add(broken)
        fold.add(vector)
        clean.add(vector)
    one, other = fold.close(), clean.close()
    assert torch.equal(one.mean, other.mean)
    assert (one.count, one.spread) == (other.count, other.spread)


def test_it_does_not_write_to_what_it_is_given() -> None:
    vectors = normal(3, 50)
    before = vectors.clone()
    fold = Fold(vectors[0])
    for vector in vectors:
        fold.add(vector)
    trade_(torch.zeros(50, dtype=torch.float64), fold.close().mean)
    assert torch.equal(vectors, before)
    fold.clear()
    fold.add(vectors[0])
    trade_(torch.zeros(50, dtype=torch.float64), fold.close().mean)
    assert torch.equal(vectors, before)


def test_half_precision_is_summed_in_single() -> None:
    vector = torch.full((500,), 6e4, dtype=torch.float16)
    fold = Fold(vector)
    assert fold.add(vector)
    assert fold.add(vector)
    assert torch.equal(fold.close().mean, vector)


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_blocks_cover_a_vector_once_in_order(size: int) -> None:
    v, w = torch.arange(size), torch.zeros(size, dtype=torch.int64)
    for part, same in blocks(v, w):
        assert part.numel() <= BLOCK
        same.copy_(part)
    assert torch.equal(v, w)


def test_in_blocks_or_in_one_go_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def results() -> list[Tensor]:
        y, x, z, master, gradient = normal(5, 1000, dtype=torch.float32)
        add_proximal_(gradient, y, x, 3.0)
        strategy = Parle(outer_lr=0.3)
        state = {"x": x, "z": z, "momentum": torch.zeros_like(x)}
        strategy.pull(y, state, master, 0)
        fold = Fold(y)
        for vector in (y, z, master):
            fold.add(vector)
        diloco = DiLoCo(outer_lr=0.3)
        diloco.merge(master, diloco.init_master(master), fold.close(), 0)
        return [gradient, y, master, fold.close().mean, *state.values()]

    whole = results()
    monkeypatch.setattr(equations, "BLOCK", 64)
    assert all(torch.equal(a, b) for a, b in zip(whole, results(), strict=True))


@pytest.mark.parametrize("strategy", [LocalSGD(), DiLoCo(outer_lr=0.4)], ids=repr)
def test_any_order_of_arrival_gives_the_same_bits(strategy: Strategy) -> None:
    vectors = normal(4, len(X), seed=3)
    results = set()
    for order in permutations(range(4)):
        master = Master(task(strategy, num_replicas=4, num_rounds=2).fitted_to(3), range(4))
        for rank in order:
            merges = master.take(rank, 0, None if rank == 1 else vectors[rank])
            assert merges == (rank != 1)
        master.close()
        results.add((tuple(master.vector.tolist()), master.distance))
    assert len(results) == 1


def test_one_who_leaves_does_not_hold_back_those_who_came_early() -> None:
    vectors = normal(3, len(X), seed=3)
    master = Master(task(LocalSGD(), num_replicas=3, num_rounds=2).fitted_to(3), range(3))
    master.take(2, 0, vectors[2])
    master.take(1, 0, vectors[1])
    master.leave(0)
    master.close()
    torch.testing.assert_close(master.vector, vectors[1:].mean(0))


def test_a_distance_is_measured_where_it_is_asked() -> None:
    a, b = normal(2, 100)
    assert norm_squared(a, b) == pytest.approx((a - b).norm().item() ** 2)
