"""Model rotation: who owns which block when, and what it then does."""

import functools
from itertools import pairwise

import pytest
import torch

from parle_ray.strategies import Rotation
from parle_ray.strategies.rotation import block
from tests import reference_relatives as paper
from tests.problems import NUM_PARAMS, START, Batch, crew, run, sgd, task
from tests.relatives import check_against
from tests.test_identities import NESTEROV, ROUNDING, torch_sgd


def test_simulate_equals_the_scheme() -> None:
    rotation = functools.partial(paper.rotation, L=2)
    check_against(rotation, Rotation(sync_every=2), NESTEROV, 0.8)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_in_n_rounds_every_replica_has_owned_every_block_once_and_never_two_the_same(
    n: int,
) -> None:
    for turn in range(5):
        rounds = range(turn * n, (turn + 1) * n)
        owned = [[block(rank, n, round) for rank in range(n)] for round in rounds]
        assert all(sorted(row) == list(range(n)) for row in owned)
        assert all(sorted(column) == list(range(n)) for column in zip(*owned, strict=True))
    firsts = {block(0, 7, 7 * turn) for turn in range(20)}
    assert len(firsts) > 3  # the orders differ


def test_one_replica_of_rotation_is_sgd() -> None:
    ours = run(Rotation(sync_every=4), num_replicas=1, inner_optimizer_fn=sgd(**NESTEROV)).master
    torch.testing.assert_close(ours, torch_sgd(12, 0.1, **NESTEROV), **ROUNDING)


def test_rotation_of_a_separable_loss_is_sequential_sgd_on_each_block() -> None:
    def separable(rank: int, num_replicas: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(rank)
        rows = torch.diag(torch.rand(NUM_PARAMS, generator=generator, dtype=torch.float64) + 1.0)
        return [(rows, torch.randn(NUM_PARAMS, generator=generator, dtype=torch.float64))]

    n, K, L = 3, 6, 2
    ours = run(Rotation(sync_every=L), num_replicas=n, num_rounds=K, batches_fn=separable).master
    marks = [b * NUM_PARAMS // n for b in range(n + 1)]
    for b, (low, high) in enumerate(pairwise(marks)):
        y = torch.from_numpy(START)[low:high]
        for k in range(K):
            owner = next(a for a in range(n) if block(a, n, k) == b)
            ((rows, targets),) = separable(owner, n)
            h = rows.diagonal()[low:high]
            for _ in range(L):
                y = y - 0.1 * h * (h * y - targets[low:high]) / NUM_PARAMS
        torch.testing.assert_close(ours[low:high], y, **ROUNDING)


def test_a_replica_moves_its_block_and_pushes_nothing_else() -> None:
    strategy, y = Rotation(), torch.linspace(0.0, 1.0, 7, requires_grad=True)
    state = strategy.init_replica(y.detach())
    strategy.seat(state, 1, 3)
    inner = torch.optim.SGD([y], lr=0.1, momentum=0.9, weight_decay=0.1)
    for round in (0, 1):
        x, y.grad = y.detach().clone(), torch.ones(7)
        with torch.no_grad():
            strategy.local_step(y, state, inner, round)
            step = strategy.push(y, state, inner, round)
            own = strategy.sends(round, 7, 1, 3)
            assert own == slice(*(7 * (block(1, 3, round) + i) // 3 for i in (0, 1)))
            assert torch.equal(step, (y - x)[own])
            assert step.all()
            assert (y - x).count_nonzero() == len(step)
            strategy.pull(y, state, torch.zeros(7), round)


def test_a_replica_that_goes_on_in_a_run_of_another_size_owns_the_blocks_of_that_run() -> None:
    two, three = (task(Rotation(), num_replicas=n).fitted_to(3) for n in (2, 3))
    saved = crew(two)[1][1].state_dict()
    learner = crew(three)[1][1]
    learner.load_state_dict(saved)
    assert saved["strategy"]["seat"].tolist() == [1, 2]
    assert learner.state_dict()["strategy"]["seat"].tolist() == [1, 3]
