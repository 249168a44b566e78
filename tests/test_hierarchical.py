"""Deputies under sheriffs: what it reduces to, and the same bits in one process and in several."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from parle_ray import ReplicaOptimizer
from parle_ray.deputies import Apart, Deputies, mean_of
from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.fold import Fold
from parle_ray.learner import Learner
from parle_ray.replica import Reply
from parle_ray.simulate import Outcome
from parle_ray.strategies import HierarchicalParle, Parle, Strategy
from tests.problems import Batch, Pieces, batches, run, sgd, squares, task
from tests.team import ThreadGroup
from tests.test_team import together

SPRINGS: dict[str, Any] = {"gamma": 10.0, "rho": 3.0, "outer_lr": 0.4, "outer_momentum": 0.5}
INNER = sgd(0.05, momentum=0.9)


def noisy(module: nn.Module, batch: Batch) -> Tensor:
    """Least squares with noise of the replica's own."""
    return squares(module, (dropout(batch[0]), batch[1]))


def flat(num_replicas: int, num_rounds: int) -> Outcome:
    parle = Parle(sync_every=3, **SPRINGS)
    return run(
        parle,
        num_replicas=num_replicas,
        num_rounds=num_rounds,
        inner_optimizer_fn=INNER,
        loss_fn=noisy,
    )


def nested(nodes: int, deputies: int, num_rounds: int, **fields: Any) -> Outcome:
    return run(
        HierarchicalParle(**SPRINGS | fields),
        num_replicas=nodes,
        num_rounds=num_rounds,
        inner_optimizer_fn=INNER,
        loss_fn=noisy,
        execution=Execution(num_processes=deputies),
    )


@pytest.mark.parametrize("node_rho", [4.0, math.inf])
@pytest.mark.parametrize("meetings", [1, 2, 3])
def test_one_node_is_parle_bit_for_bit(meetings: int, node_rho: float) -> None:
    expected = flat(num_replicas=3, num_rounds=6)
    got = nested(
        1,
        3,
        num_rounds=6 // meetings,
        sync_every=3 * meetings,
        meetings=meetings,
        node_rho=node_rho,
    )
    assert torch.equal(got.master, expected.master)
    losses = [report["loss"] for report in expected.history]
    means = [sum(losses[i : i + meetings]) / meetings for i in range(0, 6, meetings)]
    assert [report["loss"] for report in got.history] == pytest.approx(means, rel=1e-12)


def test_nodes_that_exchange_as_often_as_their_deputies_meet_are_parle_with_all_deputies() -> None:
    expected = flat(num_replicas=4, num_rounds=6)
    got = nested(2, 2, num_rounds=6, sync_every=3, meetings=1, node_rho=SPRINGS["rho"])
    torch.testing.assert_close(got.master, expected.master, rtol=1e-12, atol=1e-14)
    other = nested(2, 2, num_rounds=6, sync_every=3, meetings=1, node_rho=1.0)
    assert (other.master - expected.master).abs().max() > 1e-6


def test_a_stronger_spring_holds_the_sheriffs_nearer_to_the_master() -> None:
    distances = [
        nested(2, 2, num_rounds=8, sync_every=6, node_rho=rho).history[-1]["distance"]
        for rho in (1.0, 4.0, math.inf)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.8 * distances[2]


@pytest.mark.parametrize(("size", "num_params"), [(1, 5), (2, 1), (3, 2), (3, 1000)])
def test_processes_come_to_the_mean_of_a_fold(size: int, num_params: int) -> None:
    vectors = torch.randn(size, num_params, generator=torch.Generator().manual_seed(size)).unbind()
    fold = Fold(vectors[0])
    for vector in vectors:
        fold.add(vector)
    expected = fold.close().mean
    assert torch.equal(mean_of(vectors), expected)

    def meet(group: ThreadGroup) -> Tensor:
        return Apart(group).mean(vectors[group.index])

    assert all(torch.equal(one, expected) for one in together(size, meet))


def test_what_is_not_finite_in_one_of_them_is_so_in_all() -> None:
    vectors = [torch.zeros(3), torch.tensor([0.0, math.nan, 0.0])]
    assert mean_of(vectors).isnan().tolist() == [False, True, False]


def test_a_restart_in_the_middle_takes_all_deputies_to_the_master() -> None:
    strategy = HierarchicalParle(sync_every=4, **SPRINGS)
    given = task(strategy, execution=Execution(num_processes=2), inner_optimizer_fn=INNER)
    given = given.fitted_to(3)
    deputies = Deputies(given, 0)
    deputies.start(given, 0)
    start = deputies.vector.clone()
    assert deputies.play(0, lambda: Reply(start)).push is not None
    assert not torch.equal(deputies.vector, start)
    answer = deputies.play(1, lambda: Reply(start, restart=True))
    assert answer.push is None
    assert torch.equal(deputies.vector, start)
    assert answer.num_samples == 2 * 4 * 4  # deputies, mini-batches, rows


@pytest.mark.parametrize("strategy", [HierarchicalParle(sync_every=4), Parle(sync_every=4)])
def test_a_process_goes_on_from_its_own_state_or_from_that_of_all(strategy: Strategy) -> None:
    """The others of `HierarchicalParle` have one of their own, those of Parle walk as the first."""
    given = task(strategy, execution=Execution(num_processes=2)).fitted_to(3)

    def learner(index: int) -> Learner:
        made = Learner(given, 0, index=index)
        made.start(given, 0)
        return made

    first, second = learner(0), learner(1)
    for one in (first, second):
        one.play(0, lambda: Reply(torch.zeros(6)))
    assert torch.equal(first.vector, second.vector) != strategy.walks_apart
    others = {"others": [second.state_dict()]} if strategy.walks_apart else {}
    again = learner(1)
    again.load_state_dict(copy.deepcopy(first.state_dict() | others))
    assert torch.equal(again.vector, second.vector)


def test_a_loop_of_ones_own_is_a_node_of_one_deputy() -> None:
    strategy = HierarchicalParle(sync_every=4, **SPRINGS)
    module = Pieces()
    optimizer = ReplicaOptimizer(module, INNER([*module.parameters()]), strategy, num_rounds=2)
    data = batches(0, 1)
    for step in range(8):
        optimizer.zero_grad()
        squares(module, data[step % 3]).backward()
        optimizer.step()
    optimizer.swap_master()
    expected = run(strategy, num_replicas=1, num_rounds=2, inner_optimizer_fn=INNER).master
    shown = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    assert torch.equal(shown, expected)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rho": math.inf}, "rho must be finite: without it there is no sheriff; use Parle"),
        ({"reference": "mean_z"}, "reference must be 'master', got 'mean_z'"),
        ({"sync_every": 25}, "meetings must be a whole number that divides sync_every=25, got 2"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}$"):
        HierarchicalParle(**fields)


def test_their_state_is_not_shared_out() -> None:
    with pytest.raises(InputError, match="HierarchicalParle needs its vectors whole"):
        task(HierarchicalParle(), execution=Execution(num_processes=2, shard_state=True))
