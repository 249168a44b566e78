"""Asynchronous strategies on the stand-in for Ray: the ledger tells what the master is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from parle_ray.asynchronous import AsynchronousMaster
from parle_ray.cluster.states import Resume
from parle_ray.cluster.wire import unpack_tree
from parle_ray.runs.trial import misfit
from parle_ray.strategies import STRATEGIES, Asynchronous, BoundedAdvance
from tests.fake_ray import FakeRay
from tests.problems import START, run, sgd, task
from tests.test_kill_points import fit, one_process  # noqa: F401

ASYNCHRONOUS = [kind for kind in STRATEGIES.values() if not kind.synchronous]
HOW: dict[str, Any] = {"num_rounds": 4, "inner_optimizer_fn": sgd(momentum=0.9)}


@pytest.mark.parametrize(
    ("kind", "codec"), [*((kind, "none") for kind in ASYNCHRONOUS), (Asynchronous, "int8")]
)
def test_undisturbed_it_has_the_bits_of_simulate_in_the_order_of_its_ledger(
    monkeypatch: pytest.MonkeyPatch, kind: Any, codec: str
) -> None:
    order: list[int] = []
    strategy, how = kind(sync_every=2), HOW | {"compression": codec}
    rounds, losses, master, _ = fit(monkeypatch, strategy, None, arrivals=order, **how)
    outcome = run(strategy, arrivals=order, **how)
    assert rounds == [1, 2, 3, 4]
    assert losses == [report["loss"] for report in outcome.history]
    assert torch.equal(master["vector"], outcome.master)


class Ledgers:
    """What each master of a run has merged, in order, and where it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.masters: list[AsynchronousMaster] = []
        self.merged: dict[int, list[tuple[int, int, int, Tensor]]] = {}
        self.began: dict[int, int] = {}
        take, load = AsynchronousMaster.take, AsynchronousMaster.load_state_dict

        def taking(master: Any, rank: int, version: int, push: Any, *told: Any) -> bool:
            self._met(master)
            kept, place = push.clone(), master.version
            merges = take(master, rank, version, push, *told)
            if merges:
                self.merged[id(master)].append((place, rank, version, kept))
            return merges

        def loading(master: Any, state: Any) -> None:
            load(master, state)
            self._met(master)
            self.began[id(master)] = master.version

        monkeypatch.setattr(AsynchronousMaster, "take", taking)
        monkeypatch.setattr(AsynchronousMaster, "load_state_dict", loading)

    def _met(self, master: AsynchronousMaster) -> None:
        if id(master) not in self.merged:
            self.masters.append(master)
            self.merged[id(master)], self.began[id(master)] = [], 0

    def lineage(self) -> list[tuple[int, int, int, Tensor]]:
        """The pushes that are in the last master: of each one before it, those up to its end."""
        entries: list[tuple[int, int, int, Tensor]] = []
        for master in self.masters:
            entries = [entry for entry in entries if entry[0] < self.began[id(master)]]
            entries += self.merged[id(master)]
        return entries


def fold(start: Any, entries: list[tuple[int, int, int, Tensor]]) -> Tensor:
    w = start.clone()
    for *_, push in entries:
        w += push
    return w


@pytest.mark.parametrize(
    ("strategy", "die_at"),
    [*((Asynchronous(), k) for k in (4, 12, 20, 30, 40)), (BoundedAdvance(max_advance=0), 25)],
)
def test_wherever_the_coordinator_is_killed_no_push_counts_twice(
    monkeypatch: pytest.MonkeyPatch, strategy: Any, die_at: int
) -> None:
    ledgers = Ledgers(monkeypatch)
    rounds, _, master, office = fit(monkeypatch, strategy, die_at, **HOW)
    assert rounds == [1, 2, 3, 4]
    assert len(office.coordinators) == 2
    entries = ledgers.lineage()
    assert len({(rank, version) for _, rank, version, _ in entries}) == len(entries)
    assert [place for place, *_ in entries] == list(range(8))
    assert torch.equal(master["vector"], fold(torch.from_numpy(START), entries))


def test_a_resumed_run_goes_on_from_the_master_and_the_replicas_of_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuts: list[Resume] = []

    def keep(cut: dict[str, Any]) -> Any:
        (master,) = FakeRay.get(cut["master"])
        replicas = {rank: FakeRay.get(ref) for rank, ref in cut["replicas"].items()}
        cuts.append(Resume(round=cut["round"], master=master, replicas=replicas))
        return unpack_tree(master)

    monkeypatch.setattr("tests.test_kill_points.taken", keep)
    strategy = Asynchronous()
    _, _, before, _ = fit(monkeypatch, strategy, None, **HOW)
    longer, ledgers = HOW | {"num_rounds": 7}, Ledgers(monkeypatch)
    assert misfit(task(strategy, **longer).fitted_to(3), cuts[-1]) is None
    assert set(cuts[-1].replicas) == {0, 1}
    rounds, _, master, _ = fit(monkeypatch, strategy, None, resume=cuts[-1], **longer)
    assert rounds == [5, 6, 7]
    assert [place for place, *_ in ledgers.lineage()] == list(range(8, 14))
    assert torch.equal(master["vector"], fold(before["vector"], ledgers.lineage()))
