"""The coordinator is killed at every call of Ray that it makes: no round is lost or made twice."""

import importlib
from typing import Any

import pytest
import torch
from ray.exceptions import ObjectLostError
from ray.train import ScalingConfig
from torch.nn.utils import parameters_to_vector

from parle_ray.cluster.branches import Branches
from parle_ray.cluster.coordinator import Coordinator
from parle_ray.cluster.crew import Crew
from parle_ray.cluster.memory import Memory
from parle_ray.cluster.states import Resume
from parle_ray.cluster.supervisor import Supervisor
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import unpack_tree
from parle_ray.strategies import (
    STRATEGIES,
    AutoSplash,
    DiLoCo,
    Parle,
    Strategy,
    StreamingDiLoCo,
)
from tests.fake_ray import Actor, FakeRay, Process
from tests.problems import run, sgd, task

MODULES = [
    "asynchronous_exchange",
    "coordinator",
    "exchange",
    "keeping",
    "whole",
    "branches",
    "evaluations",
    "replica_actor",
    "mates",
]
DRIVERS = ["supervisor", "crew", "hiring", "recovery", "reports", "undertaker", "watch"]
NUM_ROUNDS = 2


class Office:
    """Hires actors of the fake; the coordinator of one generation dies at its k-th call."""

    def __init__(self, die_at: int | None) -> None:
        self._die_at = die_at
        self.coordinators: list[Process] = []
        self.hired: list[Actor] = []

    def hire(self, kind: Any, role: str, *args: Any, **options: Any) -> Actor:
        process = Process()
        if kind is Coordinator:
            process.die_at = self._die_at if not self.coordinators else None
            self.coordinators.append(process)
        self.hired.append(Actor(kind, args, process))
        return self.hired[-1]

    def dismiss(self, actors: list[Actor]) -> None:
        for actor in actors:
            FakeRay.kill(actor)

    def dismiss_all(self) -> None:
        self.dismiss(self.hired)
        for actor in self.hired:
            actor.end()


class Steady:
    """A cluster of which no node is about to go."""

    def __init__(self, say: Any) -> None:
        pass

    def look(self, coordinator: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*MODULES, *DRIVERS, "evaluator_actor"]:
        module = importlib.import_module(f"parle_ray.cluster.{name}")
        monkeypatch.setattr(module, "ray", FakeRay)
    placement = importlib.import_module("parle_ray.cluster.placement")
    nodes = importlib.import_module("parle_ray.cluster.nodes")
    branches = importlib.import_module("parle_ray.cluster.branches")
    for module, name in (
        (placement, "replica_resources"),
        (placement, "check_room"),
        (nodes, "on_node"),
        (nodes, "on_this_node"),
        (branches, "on_node"),
        (importlib.import_module("parle_ray.cluster.mates"), "on_node"),
    ):
        monkeypatch.setattr(module, name, lambda *args, **options: {})
    monkeypatch.setattr(placement, "scheduling", lambda kind, resources, n, in_order: [None] * n)
    monkeypatch.setattr("os.nice", lambda by: 0)
    monkeypatch.setattr("parle_ray.cluster.supervisor.Draining", Steady)


@pytest.fixture
def hired_again(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rank and incarnation of each successor, none of which is hired in earnest: it would still be
    setting up when the test is over."""
    again: list[tuple[int, int]] = []
    hire = Crew._hire

    def hire_once(crew: Crew, rank: int, incarnation: int) -> None:
        if incarnation:
            again.append((rank, incarnation))
        else:
            hire(crew, rank, incarnation)

    monkeypatch.setattr(Crew, "_hire", hire_once)
    return again


def fit(
    monkeypatch: pytest.MonkeyPatch,
    strategy: Strategy,
    die_at: int | None,
    arrivals: list[int] | None = None,
    steps: list[list[int]] | None = None,
    resume: Resume | None = None,
    **options: Any,
) -> tuple[list[int], list[float], Any, Office]:
    """Rounds, losses, and the state of the master in the last cut; `arrivals` takes the ranks, and
    `steps` how far they walked in each round."""
    office = Office(die_at)
    for module in ("supervisor", "branches", "mates"):
        monkeypatch.setattr(f"parle_ray.cluster.{module}.Hiring", lambda run: office)
    max_failures, say = options.pop("max_failures", 0), options.pop("say", lambda line: None)
    given = {"num_rounds": NUM_ROUNDS, "inner_optimizer_fn": sgd(momentum=0.9)} | options
    ours = task(strategy, **given)
    supervisor = Supervisor(
        ours,
        name="run",
        scaling=ScalingConfig(num_workers=2),
        shards=1,
        max_failures=max_failures,
        say=say,
        reason=lambda: None,
    )
    rounds, losses, master = [], [], None
    with supervisor:
        for report in supervisor.run(resume=resume, checkpoint_every=None, evaluate_every=None):
            if arrivals is not None:
                arrivals += [rank for rank, *_ in report["arrivals"]]
            if "cut" in report:
                master = taken(report["cut"]) or master
                supervisor.let_go(report["round"])
            if not rounds or report["round"] > rounds[-1]:
                rounds.append(report["round"])
                losses.append(report["loss"])
                if steps is not None:
                    steps.append([report[f"replica/{rank}/steps"] for rank in range(2)])
    return rounds, losses, master, office


def taken(cut: dict[str, Any]) -> Any:
    """The master of a cut, and the model saved with it, if not lost with the coordinator."""
    try:
        (state,), exported = FakeRay.get(cut["master"]), FakeRay.get(cut["model"])
    except ObjectLostError:
        return None
    return unpack_tree(state) | {"model": unpack_tree(exported["model"])}


@pytest.mark.parametrize("name", [k for k, kind in STRATEGIES.items() if kind.synchronous])
def test_undisturbed_every_strategy_has_the_bits_of_simulate(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    strategy = STRATEGIES[name](sync_every=2)
    outcome = run(strategy, num_rounds=NUM_ROUNDS, inner_optimizer_fn=sgd(momentum=0.9))
    rounds, losses, master, _ = fit(monkeypatch, strategy, None)
    assert rounds == [1, 2]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)
    assert torch.equal(parameters_to_vector(master["model"].values()), outcome.model)


@pytest.mark.parametrize(
    ("strategy", "tree", "num_rounds"),
    [
        (Parle(sync_every=2), 2, NUM_ROUNDS),
        (DiLoCo(sync_every=2), None, NUM_ROUNDS),
        (AutoSplash(sync_every=2), None, NUM_ROUNDS),
        (StreamingDiLoCo(sync_every=2, fragments=3), 2, 4),
    ],
    ids=[
        "the replies are the master, and a branch folds",
        "a state lies beside it",
        "numbers travel with both",
        "the replies are stretches, a state lies beside it, and a branch folds",
    ],
)
def test_wherever_the_coordinator_is_killed_no_bit_changes(
    monkeypatch: pytest.MonkeyPatch, strategy: Strategy, tree: int | None, num_rounds: int
) -> None:
    outcome = run(strategy, num_rounds=num_rounds, inner_optimizer_fn=sgd(momentum=0.9))
    expected = [report["loss"] for report in outcome.history]
    die_at, died = 0, True
    while died:
        die_at += 1
        options = {"tree": tree, "num_rounds": num_rounds}
        rounds, losses, master, office = fit(monkeypatch, strategy, die_at, **options)
        died = len(office.coordinators) > 1
        assert rounds == list(range(1, num_rounds + 1)), die_at
        assert losses == expected, die_at
        assert torch.equal(master["vector"], outcome.master), die_at
    assert die_at > 30


class Once:
    """Stands before a method: in its k-th call `instead` is called, with the method first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str, k: int) -> None:
        self.calls, method = 0, getattr(kind, name)

        def call(*args: Any) -> Any:
            self.calls += 1
            return self.instead(method, *args) if self.calls == k else method(*args)

        monkeypatch.setattr(kind, name, call)

    def instead(self, method: Any, *args: Any) -> Any:
        raise ObjectLostError("a push", None, "")


class Older(Once):
    """A push of the round before is handed over once more."""

    def instead(self, method: Any, *args: Any) -> Any:
        memory, generation, round, walked = args
        method(memory, generation, round, walked)
        return memory.again(round - 1)


@pytest.mark.parametrize("tree", [None, 2])
@pytest.mark.parametrize(
    ("fault", "place"),
    [(Once, (Whole, "take", 2)), (Older, (Memory, "answer", 4))],
    ids=["lost", "twice"],
)
def test_a_push_that_is_lost_or_comes_twice_is_asked_for_again_and_no_bit_changes(
    monkeypatch: pytest.MonkeyPatch, fault: type[Once], place: tuple[Any, str, int], tree: int
) -> None:
    strategy = Parle(sync_every=2)
    outcome = run(strategy, num_rounds=NUM_ROUNDS, inner_optimizer_fn=sgd(momentum=0.9))
    kind, name, k = place
    if tree and kind is Whole:
        kind = Branches
    made = fault(monkeypatch, kind, name, k)
    rounds, losses, master, office = fit(monkeypatch, strategy, None, tree=tree)
    assert made.calls >= 4
    assert rounds == [1, 2]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)
    assert len(office.coordinators) == 1
