"""`ReplicaOptimizer` in a loop of one's own: what the loop does between steps."""

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from parle_ray import ReplicaOptimizer
from parle_ray.strategies import Parle
from tests.problems import Pieces, batches, run, squares

STRATEGY = Parle(sync_every=3)


def make(**options: float) -> tuple[nn.Module, ReplicaOptimizer]:
    module = Pieces()
    inner = torch.optim.SGD(module.parameters(), lr=0.1, **options)
    return module, ReplicaOptimizer(module, inner, STRATEGY, num_rounds=4)


def walk(module: nn.Module, optimizer: ReplicaOptimizer, num: int, to_none: bool = False) -> None:
    for _ in range(num):
        (module if to_none else optimizer).zero_grad()
        squares(module, batches(0, 1)[optimizer.steps % 3]).backward()
        optimizer.step()


def parameters(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


@pytest.mark.parametrize("to_none", [False, True], ids=["zeroed", "set to None"])
def test_a_loop_of_ones_own_is_the_simulated_run(to_none: bool) -> None:
    module, optimizer = make()
    walk(module, optimizer, 12, to_none)
    theirs = run(STRATEGY, num_replicas=1, num_rounds=4)
    optimizer.swap_master()
    assert torch.equal(parameters(module), theirs.master)


def test_a_gradient_scaler_changes_nothing_but_the_scale() -> None:
    module, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(12):
        optimizer.zero_grad()
        scaler.scale(squares(module, batches(0, 1)[step % 3])).backward()
        if step % 2:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(module.parameters(), 100.0)
        scaler.step(optimizer)
        scaler.update()
    plain, other = make()
    walk(plain, other, 12)
    torch.testing.assert_close(parameters(module), parameters(plain), rtol=1e-6, atol=1e-12)


def test_a_step_that_a_scaler_leaves_out_counts_and_moves_nothing() -> None:
    module, optimizer = make()
    scaler = torch.amp.GradScaler("cpu")
    walk(module, optimizer, 1)
    before = parameters(module)
    loss = squares(module, batches(0, 1)[0]) * math.inf
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    assert torch.equal(parameters(module), before)
    assert (optimizer.steps, optimizer.round) == (2, 0)
    walk(module, optimizer, 1)
    assert optimizer.round == 1


@pytest.mark.parametrize("shown", [False, True], ids=["training", "the master shown"])
def test_a_saved_state_goes_on_to_the_same_bits(shown: bool) -> None:
    module, optimizer = make(momentum=0.9)
    walk(module, optimizer, 4)
    if shown:
        optimizer.swap_master()
    other_module, other = make(momentum=0.9)
    other.load_state_dict(deepcopy(optimizer.state_dict()))  # as from a file
    if shown:
        assert torch.equal(parameters(module), other.master)
        optimizer.swap_master()
    for each in ((module, optimizer), (other_module, other)):
        walk(*each, 8)
    assert torch.equal(parameters(module), parameters(other_module))


def test_the_state_of_another_rank_gives_the_master() -> None:
    module, optimizer = make(momentum=0.9)
    walk(module, optimizer, 4)
    state = optimizer.state_dict() | {"rank": 1}
    other_module, other = make(momentum=0.9)
    other.load_state_dict(state)
    assert torch.equal(parameters(other_module), optimizer.master)
    assert not torch.equal(parameters(other_module), parameters(module))
    assert other.round == optimizer.round
    assert len(other.inner.state) == len(optimizer.inner.state)
