"""Numbers that travel with the vectors: the means of those that were merged, down to everybody."""

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.errors import InputError
from parle_ray.fold import Numbers, Pushed
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.optim import ReplicaOptimizer
from parle_ray.replica import Reply
from parle_ray.strategies import (
    Asynchronous,
    LocalSGD,
    ParameterMixing,
    State,
    Strategy,
    StreamingDiLoCo,
)
from parle_ray.team.base import Together
from tests.cuts import Crew
from tests.problems import START, Pieces, run, sgd, task
from tests.test_kill_points import fit, one_process  # noqa: F401
from tests.test_team import together

X = torch.from_numpy(START).clone()
ROUNDS = 4


class Chatty(Strategy):
    """Replicas tell their loss, and step as far as all of them told on average a round before."""

    exchanges_numbers: ClassVar[bool] = True

    def init_replica(self, master: Tensor) -> State:
        return super().init_replica(master) | {"far": number(1.0), "for": number(-1.0)}

    def hear(self, state: State, numbers: Numbers, round: int) -> None:
        state["far"], state["for"] = number(*numbers), number(round)

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        assert y.grad is not None
        y.grad.mul_(state["far"].item())
        super().local_step(y, state, inner, round)

    def tell(self, state: State, losses: Tensor, weight: int, round: int) -> Numbers:
        return losses.mean().item(), losses[0].item()

    def init_master(self, master: Tensor) -> State:
        return super().init_master(master) | {"told": number(1.0)}

    def announce(self, state: State) -> Numbers:
        return (state["told"].item(),)

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        super().merge(master, state, pushed, round)
        state["told"] = number(pushed.numbers[0])

    def readings(self, numbers: Numbers) -> dict[str, float]:
        return {"first_loss": numbers[1]}


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Blocking(Chatty, LocalSGD):
    """y^a <- x at the beginning of a round."""


@dataclass(frozen=True, kw_only=True)
class Overlapping(Chatty, ParameterMixing):
    """The reply comes at the end of a round."""


@dataclass(frozen=True, kw_only=True)
class InFragments(Chatty, StreamingDiLoCo):
    """A round moves a stretch of the vector, and all numbers."""


@dataclass(frozen=True, kw_only=True)
class OneByOne(Chatty, Asynchronous):
    """Each push is merged when it comes."""


def new(tree: int | None = None, **changes: Any) -> Master:
    fitted = task(Blocking(), num_replicas=4, num_rounds=9, tree=tree, **changes).fitted_to(3)
    return Master(fitted, range(4))


def told(master: Master) -> float:
    master.close()
    return master.numbers[0]


@pytest.mark.parametrize("tree", [None, 1, 4])
def test_their_mean_has_the_same_bits_in_any_order_of_arrival(tree: int | None) -> None:
    values = [0.1, 1e16, 0.3, -1e16]
    means = set()
    for order in permutations(range(4)):
        master = new(tree)
        for rank in order:
            master.take(rank, 0, X, numbers=(values[rank], 0.0))
        means.add(told(master))
    assert len(means) == 1
    assert means.pop() == pytest.approx(0.1, abs=1.0)


@pytest.mark.parametrize("tree", [None, 2])
def test_only_those_of_pushes_that_are_merged_count(tree: int | None) -> None:
    master = new(tree)
    for rank, push in enumerate([X, X * math.nan, None, X]):
        master.take(rank, 0, push, numbers=(10.0**rank, 0.0))
    assert told(master) == (1.0 + 1000.0) / 2


@pytest.mark.parametrize("tree", [None, 2, 4])
def test_they_weigh_as_much_in_their_mean_as_the_pushes_do(tree: int | None) -> None:
    master = new(tree)
    for rank in (3, 0, 2, 1):
        master.take(rank, 0, X, weight=1 + rank, numbers=(float(rank), 0.0))
    assert told(master) == pytest.approx((1 * 0 + 2 * 1 + 3 * 2 + 4 * 3) / 10, rel=1e-15)


def test_a_late_push_brings_its_own_and_one_that_is_not_finite_stays_what_it_is() -> None:
    master = new()
    for rank in (0, 1, 2):
        master.take(rank, 0, X, numbers=(1.0, 0.0))
    assert told(master) == 1.0
    for rank in (0, 1, 2):
        master.take(rank, 1, X, numbers=(2.0, 0.0))
    master.take(3, 0, X, 0, numbers=(6.0, 0.0))
    assert told(master) == 3.0
    for rank in range(4):
        master.take(rank, 2, X, numbers=(math.inf, 0.0))
    assert not math.isfinite(told(master))


@pytest.mark.parametrize("strategy", [Blocking(sync_every=2), Overlapping(sync_every=2)])
def test_a_replica_hears_them_with_the_reply_and_for_the_round_that_comes(
    strategy: Strategy,
) -> None:
    fitted = task(strategy, num_rounds=9).fitted_to(3)
    learner = Learner(fitted, 0)
    learner.start(fitted, 0)
    for round in range(3):
        learner.play(round, lambda: Reply(X, numbers=(0.5,)))
        state = learner.state_dict()["strategy"]
        assert state["far"] == 0.5
        assert state["for"] == (round + 1 if strategy.overlaps else round)


def test_one_that_starts_again_hears_them_too() -> None:
    fitted = task(Blocking(sync_every=2), num_rounds=9).fitted_to(3)
    learner = Learner(fitted, 0)
    learner.start(fitted, 0)
    learner.play(0, lambda: Reply(X, restart=True, numbers=(0.25,)))
    assert learner.state_dict()["strategy"]["far"] == 0.25


@pytest.mark.parametrize("compression", ["none", "int8"])
@pytest.mark.parametrize("kind", [Blocking, Overlapping, InFragments])
def test_what_all_tell_in_a_round_everybody_hears_with_the_reply(
    kind: type[Strategy], compression: str
) -> None:
    strategy = kind(sync_every=2)
    crew = Crew(task(strategy, num_rounds=9, compression=compression).fitted_to(3))
    for _ in range(3):
        before = crew.master.numbers
        crew.play(1)
        heard = [w.state_dict()["strategy"]["far"].item() for w in crew.learners]
        assert heard == [*before] * 2
        assert crew.master.numbers != before


def test_a_report_has_what_the_strategy_reads_of_them() -> None:
    assert "first_loss" in run(Blocking()).history[-1]
    assert "first_loss" not in run(LocalSGD()).history[-1]


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        (Blocking(sync_every=2), {}),
        (Blocking(sync_every=2), {"tree": 2}),
        (Blocking(sync_every=2), {"compression": "int8"}),
        (Overlapping(sync_every=2), {}),
        (Overlapping(sync_every=2), {"compression": "int8"}),
        (InFragments(sync_every=2), {}),
        (InFragments(sync_every=2), {"tree": 2}),
        (InFragments(sync_every=2), {"compression": "int8"}),
        (Blocking(sync_every=2, weighting="samples"), {"tree": 2}),
    ],
)
def test_a_run_with_them_has_the_bits_of_simulate(
    monkeypatch: pytest.MonkeyPatch,
    one_process: None,  # noqa: F811
    strategy: Strategy,
    options: dict[str, Any],
) -> None:
    inner = sgd(momentum=0.9)
    outcome = run(strategy, num_rounds=ROUNDS, inner_optimizer_fn=inner, **options)
    rounds, losses, master, _ = fit(
        monkeypatch, strategy, None, num_rounds=ROUNDS, inner_optimizer_fn=inner, **options
    )
    assert rounds == [1, 2, 3, 4]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)


def test_an_asynchronous_run_with_them_has_the_bits_of_simulate(
    monkeypatch: pytest.MonkeyPatch,
    one_process: None,  # noqa: F811
) -> None:
    order: list[int] = []
    rounds, losses, master, _ = fit(
        monkeypatch, OneByOne(), None, arrivals=order, num_rounds=ROUNDS, inner_optimizer_fn=sgd()
    )
    outcome = run(OneByOne(), arrivals=order, num_rounds=ROUNDS)
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)


def test_all_processes_of_a_replica_hear_what_the_first_is_told() -> None:
    replies = [Reply(torch.ones(3), numbers=(1.5, -math.inf)), Reply(torch.zeros(3))]

    def talk(team: Together) -> list[Numbers]:
        heard = []
        for reply in replies:
            if team.leads:
                team.tell(reply)
            else:
                heard.append(team.hear(torch.empty(3)).numbers)
        return heard

    for heard in together(3, lambda group: talk(Together(group)))[1:]:
        assert heard == [(1.5, -math.inf), ()]


def test_an_optimiser_in_a_loop_of_ones_own_refuses_what_looks_at_losses() -> None:
    module = Pieces()
    inner = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"strategy: Blocking looks at the losses of mini-batches"):
        ReplicaOptimizer(module, inner, Blocking())
