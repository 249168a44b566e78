"""Faults on purpose: the schedule, what each does where it strikes, what is made of it."""

import json
import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ObjectLostError
from torch import nn

from parle_ray.chaos import full_disk, injector, kinds, local_cluster
from parle_ray.chaos.kinds import KINDS, Mishap, at_work, marks
from parle_ray.chaos.schedule import Fault, storm
from parle_ray.chaos.show import fault_lines, table
from parle_ray.chaos.verdict import Seen, Struck, as_row, broken, by_kind, recovery_s
from parle_ray.cli import main
from parle_ray.cluster.memory import Memory
from parle_ray.errors import ClusterError, InputError
from parle_ray.runs.storage import LocalFolder, open_folder
from parle_ray.strategies import Parle
from parle_ray.task import Task
from tests.cluster import task

SIZES = {"num_replicas": 3, "num_rounds": 100}


def test_the_same_seed_gives_the_same_storm_and_another_another():
    assert storm(list(KINDS), 30, seed=1, **SIZES) == storm(list(KINDS), 30, seed=1, **SIZES)
    assert storm(list(KINDS), 30, seed=1, **SIZES) != storm(list(KINDS), 30, seed=2, **SIZES)


def test_a_storm_has_all_kinds_equally_often_and_ends_before_the_run():
    faults = storm(list(KINDS), 3 * len(KINDS), seed=0, **SIZES)
    assert sorted(fault.kind for fault in faults) == sorted(3 * list(KINDS))
    rounds = [fault.round for fault in faults]
    assert rounds == sorted(rounds)
    assert rounds[0] == 1
    assert rounds[-1] < 100
    assert {fault.rank for fault in faults} == {0, 1, 2, None}
    for fault in faults:
        assert (fault.rank is None) == (KINDS[fault.kind].role != "replica")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": "kil", "rank": 0, "round": 1}, "'kill'"),
        ({"kind": "kill", "rank": 0, "round": 0}, "round must be >= 1"),
        ({"kind": "kill", "round": 1}, "rank must say"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(wrong, named):
    with pytest.raises(InputError, match=named):
        Fault(**wrong)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--num_rounds 5 --faults kil", "Did you mean 'kill'?"),
        ("--num_rounds 5 --num_faults 0", "num_faults must be >= 1"),
        ("--num_rounds 5 --num_faults x", "num_faults"),
        ("--num_rounds 5 --baseline maybe", "baseline"),
        ("--num_faults 5", "num_rounds"),
        ("--num_rounds 5 --faults kill,remove_node", "--nodes 2"),
        ("--num_rounds 5 --nodes 3 --address a:1", "leave --address out"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(capsys, arguments, named):
    assert main(["chaos", *arguments.split()]) == 2
    assert named in capsys.readouterr().err


def test_the_help_names_all_faults(capsys):
    assert main(["chaos", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in KINDS)


class Replica:
    """As much of a replica's actor as faults reach for."""

    def __init__(self):
        made = Task(strategy=Parle(), num_replicas=1, **task.arguments())
        self.learner, self.memory = SimpleNamespace(task=made), Memory()

    def loss(self):
        module, (x, labels) = nn.Linear(10, 3), task.data()
        return self.learner.task.loss_fn(module, (x, labels))

    def hands_over(self, round, push):
        told, given, state = self.memory.answer(0, round, ({"round": round}, push, None))
        assert told["round"] == round or marks(self), "only a fault changes it"
        return told["round"], given


def strike(kind, replica=None, **where):
    KINDS[kind].strike(replica, Fault(**({"kind": kind, "round": 3, "rank": 0} | where)))


def test_a_loss_is_nan_once():
    replica = Replica()
    assert replica.loss().isfinite()
    strike("nan", replica)
    assert marks(replica) == 0
    assert replica.loss().isnan()
    assert marks(replica) == 1
    assert replica.loss().isfinite()


def test_a_loss_raises_once_and_never_the_same():
    replica, texts = Replica(), set()
    for round in (3, 4):
        strike("raise", replica, round=round)
        with pytest.raises(Mishap) as caught:
            replica.loss()
        texts.add(str(caught.value))
        assert replica.loss().isfinite()
    assert len(texts) == 2
    assert marks(replica) == 2


def test_a_push_is_short_once_and_one_that_is_none_is_let_pass():
    replica, push = Replica(), np.ones(5)
    strike("corrupt", replica)
    assert replica.hands_over(0, None) == (0, None)
    assert marks(replica) == 0
    assert len(replica.hands_over(1, push)[1]) == 4
    assert len(replica.memory.again(1)[1]) == 5, "what it remembers is whole"
    assert len(replica.hands_over(2, push)[1]) == 5
    assert marks(replica) == 1


def test_a_push_comes_twice_and_what_it_took_the_place_of_is_remembered():
    replica, first, second = Replica(), np.ones(5), np.zeros(5)
    strike("duplicate", replica)
    assert replica.hands_over(4, first)[1] is first, "there is none before it"
    assert replica.hands_over(5, second) == (4, first)
    assert replica.memory.again(5)[1] is second
    assert replica.hands_over(6, second) == (6, second)


def test_a_push_is_lost_once():
    exchange = SimpleNamespace(master=Taker())
    coordinator = SimpleNamespace(exchange=exchange)
    strike("drop", coordinator, rank=None)
    with pytest.raises(ObjectLostError, match="replica 2"):
        exchange.master.take(2, 5, 5)
    assert exchange.master.take(2, 5, 5) == 40
    assert marks(coordinator) == 1


class Taker:
    """As much of a master as faults reach for."""

    def take(self, rank, round, seen):
        return 40


def test_a_disk_is_full_for_some_seconds(tmp_path, monkeypatch):
    now = [50.0]
    monkeypatch.setattr(full_disk.time, "monotonic", lambda: now[0])
    driver, folder = SimpleNamespace(), open_folder(tmp_path)
    folder.write("old", b"whole")
    real = LocalFolder.write
    strike("disk_full", driver, rank=None, seconds=3.0)
    now[0] += 99.0
    assert marks(driver) == 0, "it begins with the first that is written"
    for verb, rest in (("write", [b""]), ("append", [b""]), ("keep", [])):
        with pytest.raises(OSError, match="No space left"):
            getattr(folder, verb)("old", *rest)
    assert folder.read("old") == b"whole"
    now[0] += 3.0
    folder.write("new", b"there is space")
    assert LocalFolder.write is real
    assert marks(driver) == 1


def test_only_a_replica_that_is_at_work_on_a_node_that_may_go_loses_its_node(monkeypatch):
    replica = SimpleNamespace(at_work=True)
    for on_head, loses in ((True, False), (False, True)):
        monkeypatch.setattr(kinds, "is_head", lambda head=on_head: head)
        assert at_work(replica, True) is loses
        assert at_work(replica, False)
        assert not at_work(SimpleNamespace(at_work=False), True)


def ends(kind, **where):
    """The states that a process goes through in which this fault strikes."""
    child = os.fork()
    if child == 0:
        strike(kind, **where)
        os._exit(7)
    found = []
    while not found or os.WIFSTOPPED(found[-1]):
        found.append(os.waitpid(child, os.WUNTRACED)[1])
    return found


def test_a_process_is_killed_or_stands_still_and_goes_on():
    (killed,) = ends("kill")
    assert os.WTERMSIG(killed) == signal.SIGKILL
    stopped, ended = ends("stop", seconds=0.01)
    assert os.WSTOPSIG(stopped) == signal.SIGSTOP
    assert os.WEXITSTATUS(ended) == 7


def test_only_what_happened_counts_and_who_is_away_holds_nobody_up(monkeypatch):
    hit = threading.Event()

    class Scripted(injector.Injector):
        def _actor(self, role):
            if role == "replica-0":
                raise LookupError(role)
            return role

    def inside(actor, function, *args, timeout=0.0):
        if function is KINDS["stop"].strike:
            hit.set()
        return True

    monkeypatch.setattr(injector, "_inside", inside)
    away = Fault(kind="kill", rank=0, round=1)
    there = Fault(kind="stop", rank=1, round=1)
    chaos = Scripted([away, there])
    chaos.after_report(None, [{"round": 1, "num_rounds": 9, "replica/1/loss": 0.5}], None)
    assert hit.wait(30)
    chaos.close()
    assert [(one.fault, one.why_not) for one in chaos.struck] == [
        (there, ""),
        (away, "the run was over"),
    ]
    assert chaos.seen[0].ranks == {1}


def test_a_fault_that_was_lost_with_its_process_strikes_the_next(monkeypatch):
    hit, names = threading.Event(), iter(["died", "late", "at work"])

    def inside(actor, function, *args, timeout=0.0):
        if function is KINDS["stop"].strike:
            if actor == "died":
                raise ActorDiedError
            hit.set()
        return actor != "late"

    monkeypatch.setattr(injector, "_inside", inside)
    chaos = injector.Injector([Fault(kind="stop", rank=0, round=1)], run="run")
    monkeypatch.setattr(chaos, "_actor", lambda role: next(names))
    chaos.after_report(None, [{"round": 1, "num_rounds": 9}], None)
    assert hit.wait(30)
    chaos.close()
    assert [one.why_not for one in chaos.struck] == [""]


SEEN = [
    Seen(float(at), round, frozenset(ranks))
    for round, (at, ranks) in enumerate(
        [(0, {0, 1}), (1, {0, 1}), (2, {0, 1}), (3, {0}), (8, {0}), (9, {0, 1})], start=1
    )
]


def test_a_replaced_replica_is_back_when_it_answers_again():
    kill = Struck(Fault(kind="kill", rank=1, round=2), 1.5, 2)
    assert recovery_s(kill, SEEN) == 7.5  # its answer at 2 was on its way when it was killed
    assert recovery_s(Struck(Fault(kind="kill", rank=0, round=2), 1.5, 2), SEEN) is None
    nan = Struck(Fault(kind="nan", rank=0, round=2), 2.5, 3)
    assert recovery_s(nan, SEEN) == 5.5  # two rounds later
    missed = Struck(Fault(kind="kill", rank=1, round=2), 1.5, 2, "the run was over")
    assert recovery_s(missed, SEEN) is None
    assert by_kind([kill, missed, nan], SEEN) == {
        "kill": {"sent": 2, "happened": 1, "longest_recovery_s": 7.5},
        "nan": {"sent": 1, "happened": 1, "longest_recovery_s": 5.5},
    }
    told = {
        "faults": [as_row(one, SEEN) for one in (kill, missed, nan)],
        "by_kind": by_kind([kill, missed, nan], SEEN),
        "rounds": 6,
        "longest_pause_s": 5.0,
        "broken": [],
        **dict.fromkeys(("steps_per_s", "loss", "accuracy"), 1.0),
        **{f"{name}_without_faults": 2.0 for name in ("steps_per_s", "loss", "accuracy")},
    }
    assert "did not happen: the run was over" in fault_lines(told["faults"])[1]
    assert "  faults            2 of 3 happened" in table(told)


@pytest.mark.parametrize(
    ("rounds", "changes", "named"),
    [
        ([1, 2, 3], {}, []),
        ([1, 3], {}, ["missing [2]"]),
        ([1, 2, 2, 3], {}, ["repeated [2]"]),
        ([1, 3, 2], {}, ["in order"]),
        ([1, 2, 3], {"pause_s": 4.9}, ["5.0 s"]),
        ([1, 2, 3], {"off": -0.3, "tolerance": 0.2}, ["-0.3"]),
        ([1, 2, 3], {"off": float("nan"), "tolerance": 0.2}, ["nan"]),
    ],
)
def test_a_broken_promise_is_told(rounds, changes, named):
    found = broken(rounds, 3, SEEN, **({"pause_s": 30.0} | changes))
    assert len(found) == len(named)
    assert all(what in line for what, line in zip(named, found, strict=True))


def test_a_cluster_of_its_own_is_refused_where_there_is_one(monkeypatch):
    monkeypatch.setattr(local_cluster.ray, "is_initialized", lambda: True)
    with pytest.raises(ClusterError, match="on a cluster already"):
        local_cluster.LocalCluster(3)


def test_calls_fail_by_the_means_of_ray_itself():
    (told,) = local_cluster.failing_calls(2).values()
    (failure,) = json.loads(told).values()
    assert (failure["req_failure_prob"], failure["resp_failure_prob"]) == (2, 2)


def test_a_node_comes_in_place_of_one_that_was_taken(monkeypatch):
    renewed = threading.Event()
    monkeypatch.setattr(injector, "_inside", lambda *args, timeout=0.0: True)
    chaos = injector.Injector(
        [Fault(kind="remove_node", rank=0, round=1)], run="run", renew=renewed.set
    )
    monkeypatch.setattr(chaos, "_actor", lambda role: role)
    chaos.after_report(None, [{"round": 1, "num_rounds": 9}], None)
    assert renewed.wait(30)
    chaos.close()
    assert [one.why_not for one in chaos.struck] == [""]
