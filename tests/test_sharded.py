"""Processes that share the state of a replica: each has a stretch, together they have all of it."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from parle_ray.cluster.states import join_states
from parle_ray.cluster.wire import pack_tree, unpack_tree
from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.learner import Learner
from parle_ray.replica import Reply
from parle_ray.strategies import STRATEGIES, EntropySGD, HierarchicalParle, Rotation
from parle_ray.team.base import Group
from parle_ray.team.sharded import Stretches
from tests.problems import NUM_PARAMS, Pieces, task
from tests.test_team import together

SHARED = [
    name for name, kind in STRATEGIES.items() if kind().coordinate_wise and not kind.walks_apart
]
MASTER = torch.linspace(-1.0, 1.0, NUM_PARAMS, dtype=torch.float64)
Walk = tuple[list[Tensor], dict[str, Any], int]


def walk(group: Group | None, name: str, first: int = 0, state: Any = None) -> Walk:
    """Two rounds: what the replica pushes, what this process has of its state, and how much."""
    ours = task(
        STRATEGIES[name](sync_every=2),
        num_replicas=1,
        num_rounds=4,
        inner_optimizer_fn=partial(torch.optim.Adam, lr=0.1),
        execution=Execution(num_processes=2, shard_state=True),
    ).fitted_to(3)
    learner = Learner(ours, 0)
    if group is not None:
        learner.join(Stretches(group))
    learner.start(ours, first, MASTER)
    if state is not None:
        learner.load_state_dict(state)
    team = learner.team
    pushes = []
    for round in range(first, first + 2):
        answer = learner.play(round, lambda: Reply(MASTER) if team.leads else team.hear(MASTER))
        pushes.append(answer.push.clone())
    state = learner.state_dict()
    kept = sum(vector.numel() for vector in state["strategy"].values() if vector.dim())
    return pushes, pack_tree(state, copy=True), kept


@pytest.mark.parametrize("name", SHARED)
def test_every_strategy_has_the_bits_of_one_process_and_half_of_its_state(name: str) -> None:
    expected, whole, size = walk(None, name)
    (pushes, first, some), (_, second, others) = together(2, lambda group: walk(group, name))
    assert all(torch.equal(a, b) for a, b in zip(pushes, expected, strict=True))
    assert (some, others) == (size * 4 // 6, size * 2 // 6)  # four of six are one parameter
    inners = [part["inner"]["state"].keys() for part in (first, second)]
    assert [set(names) for names in inners] in ([{0}, {1, 2}], [set(), set()])
    joined = join_states([first, second])
    on_its_own, *_ = walk(None, name, 2, unpack_tree(joined))
    resumed = together(2, lambda group: walk(group, name, 2, unpack_tree(joined)))[0][0]
    expected, *_ = walk(None, name, 2, unpack_tree(whole))
    for pushed in (on_its_own, resumed):
        assert all(torch.equal(a, b) for a, b in zip(pushed, expected, strict=True))


@pytest.mark.parametrize("strategy", [Rotation(), EntropySGD(noise=0.1), HierarchicalParle()])
@pytest.mark.parametrize(
    "how", [{"shard_state": True}, {"shard_parameters": True}, {"num_microbatches": 4}]
)
def test_what_looks_at_the_whole_vector_is_not_cut(strategy: Any, how: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"execution.{next(iter(how))}: .* needs its vectors"):
        task(strategy, execution=Execution(num_processes=2, **how))


def test_a_part_has_whole_parameters() -> None:
    learner = Learner(task(STRATEGIES["parle"]()), 0)
    assert learner.sizes == [4, 1, 1]
    flat = learner._flat
    assert [p.numel() for p in flat.inside(slice(4, 6))] == [1, 1]
    assert flat.inside(slice(0, 4))[0] is flat.parameters[0]
    assert isinstance(flat.module, Pieces)
