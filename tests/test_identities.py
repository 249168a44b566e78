"""Parle contains its relatives: the identities S1 to S10 of the algorithm, each as a test.

`math.inf` for gamma or rho leaves a pull out: 1/gamma = 0, 1/rho = 0.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from parle_ray.schedules import Scoping
from parle_ray.strategies import DiLoCo, ElasticSGD, EntropySGD, LocalSGD, Parle
from tests.problems import (
    START,
    Pieces,
    batches,
    crew,
    flat_loss,
    play_round,
    run,
    same_batches,
    sgd,
    squares,
    task,
)

NESTEROV = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
ROUNDING = {"rtol": 0.0, "atol": 1e-14}


def torch_sgd(num_steps: int, lr: float, **options: Any) -> Tensor:
    """Where torch.optim.SGD gets on `Pieces` with the batches of rank 0."""
    module = Pieces()
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, **options)
    for t in range(num_steps):
        optimizer.zero_grad()
        squares(module, batches(0, 1)[t % 3]).backward()
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def shifted(rank: int) -> Callable[[int, int], list[Any]]:
    """Batches of one rank, for a run of that replica alone."""
    return lambda _, num_replicas: batches(rank, num_replicas)


@pytest.mark.parametrize("rho", [0.3, math.inf])
def test_s1_one_free_replica_that_jumps_to_its_last_step_is_sgd(rho: float) -> None:
    strategy = Parle(
        sync_every=4, gamma=math.inf, rho=rho, alpha=0.0, outer_lr=1.0, outer_momentum=0.0
    )
    ours = run(strategy, num_replicas=1, inner_optimizer_fn=sgd(0.1, **NESTEROV)).master
    torch.testing.assert_close(ours, torch_sgd(12, 0.1, **NESTEROV), **ROUNDING)


@pytest.mark.parametrize("gamma", [0.01, 1.0, math.inf])
def test_s1b_with_one_step_a_round_gamma_is_inert_and_the_rates_multiply(gamma: float) -> None:
    strategy = Parle(sync_every=1, gamma=gamma, alpha=0.75, outer_lr=0.4, outer_momentum=0.0)
    inner = sgd(0.5, **NESTEROV)
    ours = run(strategy, num_replicas=1, num_rounds=7, inner_optimizer_fn=inner).master
    torch.testing.assert_close(ours, torch_sgd(7, 0.4 * 0.25 * 0.5, **NESTEROV), **ROUNDING)


def test_s1c_with_one_plain_step_a_round_the_outer_momentum_is_that_of_sgd() -> None:
    strategy = Parle(sync_every=1, alpha=0.75, outer_lr=0.4, outer_momentum=0.9)
    ours = run(strategy, num_replicas=1, num_rounds=7, inner_optimizer_fn=sgd(0.5)).master
    theirs = torch_sgd(7, 0.4 * 0.25 * 0.5, momentum=0.9, nesterov=True)
    torch.testing.assert_close(ours, theirs, **ROUNDING)


def test_s2_one_replica_is_entropy_sgd_bit_for_bit_whatever_rho() -> None:
    def parle(rho: float) -> Tensor:
        return run(Parle(sync_every=4, gamma=2.0, rho=rho, outer_lr=0.2), num_replicas=1).master

    entropy = run(EntropySGD(sync_every=4, gamma=2.0, outer_lr=0.2), num_replicas=1).master
    assert torch.equal(parle(0.05), parle(math.inf))
    assert torch.equal(parle(1.0), parle(math.inf))
    torch.testing.assert_close(parle(1.0), entropy, **ROUNDING)


def test_s2b_one_replica_against_the_mean_of_z_is_entropy_sgd_with_a_longer_step() -> None:
    strategy = Parle(sync_every=4, gamma=2.0, rho=0.25, outer_lr=0.1, reference="mean_z")
    entropy = EntropySGD(sync_every=4, gamma=2.0, outer_lr=0.1 * (1 + 1 / 0.25))
    ours, theirs = (run(s, num_replicas=1).master for s in (strategy, entropy))
    torch.testing.assert_close(ours, theirs, **ROUNDING)


@pytest.mark.parametrize("reference", ["master", "mean_z"])
def test_s2c_uncoupled_replicas_are_independent_entropy_sgd_runs(reference: Any) -> None:
    strategy = Parle(sync_every=4, gamma=2.0, rho=math.inf, outer_lr=0.2, reference=reference)
    outcome = run(strategy, num_replicas=3)
    entropy = EntropySGD(sync_every=4, gamma=2.0, outer_lr=0.2)
    alone = [run(entropy, num_replicas=1, batches_fn=shifted(a)).master for a in range(3)]
    for ours, theirs in zip(outcome.replicas, alone, strict=True):
        torch.testing.assert_close(ours, theirs, **ROUNDING)
    torch.testing.assert_close(outcome.master, torch.stack(alone).mean(0), **ROUNDING)


@pytest.mark.parametrize("gamma", [0.01, math.inf])
def test_s3_one_plain_step_a_round_is_elastic_sgd(gamma: float) -> None:
    eta, alpha, lr, rho = 0.4, 0.75, 0.5, 2.0
    parle = Parle(sync_every=1, gamma=gamma, rho=rho, alpha=alpha, outer_lr=eta, outer_momentum=0.0)
    rate = eta * (1 - alpha) * lr
    elastic = ElasticSGD(rho=rate * rho / eta)  # so that its spring, rate/rho, is eta/rho
    ours = run(parle, num_replicas=3, num_rounds=7, inner_optimizer_fn=sgd(lr))
    theirs = run(elastic, num_replicas=3, num_rounds=7, inner_optimizer_fn=sgd(rate))
    torch.testing.assert_close(ours.replicas, theirs.replicas, **ROUNDING)
    torch.testing.assert_close(ours.master, theirs.master, **ROUNDING)


@given(
    rho=st.floats(0.05, 100.0),
    eta=st.floats(0.01, 1.0),
    num_replicas=st.integers(1, 4),
    seed=st.integers(0, 99),
    reference=st.sampled_from(["master", "mean_z"]),
)
def test_s4_a_round_moves_the_mean_towards_the_mean_of_z(
    rho: float, eta: float, num_replicas: int, seed: int, reference: Any
) -> None:
    random = torch.Generator().manual_seed(seed)
    x, z = torch.randn(2, num_replicas, 6, dtype=torch.float64, generator=random)
    strategy = Parle(rho=rho, outer_lr=eta, outer_momentum=0.0, reference=reference)
    told = x.mean(0) if reference == "master" else z.mean(0)
    moved = []
    for a in range(num_replicas):
        state, y = strategy.init_replica(x[a]), torch.full((6,), math.nan, dtype=torch.float64)
        state["z"].copy_(z[a])
        strategy.pull(y, state, told, round=0)
        assert torch.equal(y, state["x"])
        moved.append(y)
    step = eta if reference == "master" else eta * (1 + 1 / rho)
    expected = x.mean(0) + step * (z.mean(0) - x.mean(0))
    torch.testing.assert_close(torch.stack(moved).mean(0), expected, rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("reference", ["master", "mean_z"])
def test_s5_equal_replicas_are_one_replica_bit_for_bit(reference: Any) -> None:
    strategy = Parle(sync_every=4, rho=0.3, outer_lr=0.2, reference=reference)
    one, three = (
        run(strategy, num_replicas=n, batches_fn=same_batches, inner_optimizer_fn=sgd(**NESTEROV))
        for n in (1, 3)
    )
    assert torch.equal(one.master, three.master)
    assert all(torch.equal(one.replicas[0], replica) for replica in three.replicas)


def test_s6_without_a_loss_the_replicas_contract_to_their_constant_mean() -> None:
    strategy = Parle(sync_every=2, gamma=1.0, rho=0.5, outer_lr=0.1, outer_momentum=0.0)
    fitted = task(strategy, loss_fn=flat_loss, num_replicas=3, num_rounds=5).fitted_to(3)
    master, learners = crew(fitted)
    start = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for learner, x in zip(learners, start, strict=True):
        learner.start(fitted, round=0, master=x)
    mean = start.mean(0)
    master.vector.copy_(mean)
    for _ in range(5):
        play_round(master, learners)
        torch.testing.assert_close(master.vector, mean, **ROUNDING)
    for learner, x in zip(learners, start, strict=True):
        expected = (1 - 0.1 / 0.5) ** 5 * (x - mean)  # 0.32768
        torch.testing.assert_close(learner.vector - mean, expected, **ROUNDING)


def test_s7_one_replica_of_local_sgd_is_sgd_bit_for_bit() -> None:
    ours = run(LocalSGD(sync_every=4), num_replicas=1, inner_optimizer_fn=sgd(**NESTEROV)).master
    assert torch.equal(ours, torch_sgd(12, 0.1, **NESTEROV))


def test_s7_parle_without_memory_or_pull_is_lookahead() -> None:
    strategy = Parle(sync_every=4, gamma=math.inf, alpha=0.0, outer_lr=0.5, outer_momentum=0.0)
    slow = torch.from_numpy(START)
    for k in range(3):
        module = Pieces()
        torch.nn.utils.vector_to_parameters(slow.clone(), module.parameters())
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for t in range(4 * k, 4 * k + 4):
            optimizer.zero_grad()
            squares(module, batches(0, 1)[t % 3]).backward()
            optimizer.step()
        fast = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
        slow = slow + 0.5 * (fast - slow)
    torch.testing.assert_close(run(strategy, num_replicas=1).master, slow, **ROUNDING)


def test_s8_diloco_that_jumps_without_momentum_is_local_sgd() -> None:
    ours = run(DiLoCo(sync_every=4, outer_lr=1.0, outer_momentum=0.0), num_replicas=3).master
    theirs = run(LocalSGD(sync_every=4), num_replicas=3).master
    torch.testing.assert_close(ours, theirs, **ROUNDING)


@pytest.mark.parametrize(("batches_fn", "num_rounds"), [(same_batches, 4), (batches, 1)])
def test_s8_from_equal_replicas_the_mean_of_uncoupled_parle_follows_diloco(
    batches_fn: Any, num_rounds: int
) -> None:
    outer: Any = {"sync_every": 4, "outer_lr": 0.7, "outer_momentum": 0.9}
    parle = Parle(gamma=math.inf, rho=math.inf, alpha=0.0, reference="mean_z", **outer)
    ours, theirs = (
        run(s, batches_fn=batches_fn, num_rounds=num_rounds).master
        for s in (parle, DiLoCo(**outer))
    )
    torch.testing.assert_close(ours, theirs, **ROUNDING)


@pytest.mark.parametrize("reference", ["master", "mean_z"])
def test_s9_permuting_the_replicas_permutes_nothing_else(reference: Any) -> None:
    strategy = Parle(sync_every=4, rho=0.3, outer_lr=0.2, reference=reference)
    order = [2, 0, 1]
    ours = run(strategy, num_replicas=3)
    permuted = run(strategy, num_replicas=3, batches_fn=lambda r, n: batches(order[r], n))
    torch.testing.assert_close(permuted.master, ours.master, **ROUNDING)
    for rank, source in enumerate(order):
        torch.testing.assert_close(permuted.replicas[rank], ours.replicas[source], **ROUNDING)


def test_s10_scoping_tightens_once_a_round_from_100_to_exactly_1_and_from_1_to_10() -> None:
    strategy = Parle(sync_every=1, gamma=Scoping(100.0, floor=1.0), rho=Scoping(1.0, floor=0.1))
    history = run(strategy, num_rounds=30, loss_fn=flat_loss).history  # B = 3
    gamma, rho = ([report[name] for report in history] for name in ("gamma", "rho"))
    assert gamma[:3] == pytest.approx([100.0, 100.0 * 5 / 6, 100.0 * 25 / 36], rel=1e-15)
    assert rho[:3] == pytest.approx([1.0, 5 / 6, 25 / 36], rel=1e-15)
    assert gamma == sorted(gamma, reverse=True)
    assert (gamma[0], gamma[-1], rho[0], rho[-1]) == (100.0, 1.0, 1.0, 0.1)
