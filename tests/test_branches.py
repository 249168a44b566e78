"""Branches fold what they are asked to, and the coordinator what they fail to, to the same bits."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError, ObjectLostError
from torch import Tensor

from parle_ray.cluster import branches, whole
from parle_ray.cluster.branches import Branches
from parle_ray.cluster.wire import form, pack
from parle_ray.fold import Term
from parle_ray.master import Master
from parle_ray.membership.ledger import Fate
from parle_ray.strategies import LocalSGD
from tests.fake_ray import FakeRay, Ref
from tests.problems import NUM_PARAMS, task

PUSHES = list(
    torch.randn(5, NUM_PARAMS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
)
LOST = ObjectLostError("0" * 56, None, "")


class Office:
    """Hires branches that write down what they are asked for, and may fail to answer."""

    def __init__(self, run: str) -> None:
        self.asked: list[list[int]] = []
        self.nodes: dict[str, list[str]] = {}
        self.dismissed = 0
        self.fails: dict[int, BaseException | None] = {}

    def hire(self, kind: Any, role: str, index: int, *args: Any, **options: Any) -> Any:
        self.nodes.setdefault(role, []).append(options["scheduling_strategy"])
        return Branch(self, kind(index, *args), index)

    def dismiss(self, actors: list[Any]) -> None:
        self.dismissed += len(actors)


class Branch:
    """A branch and its method `fold`, in one."""

    def __init__(self, office: Office, actor: Any, index: int) -> None:
        self._office, self._actor, self._index = office, actor, index
        self.fold = self

    def options(self, num_returns: int) -> "Branch":
        return self

    def remote(self, num_params: int, terms: dict[int, Term], *pushes: Ref) -> list[Ref]:
        refs = [Ref(), Ref()]
        self._office.asked.append(list(terms))
        if self._index in self._office.fails:
            error = self._office.fails.pop(self._index)
            for ref in refs if error else ():
                ref.set(error=error)
            return refs
        answer = self._actor.fold(num_params, terms, *(push.get() for push in pushes))
        for ref, value in zip(refs, answer, strict=True):
            ref.set(value)
        return refs


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Branches:
    for module in (branches, whole):
        monkeypatch.setattr(module, "ray", FakeRay)
    monkeypatch.setattr(branches, "Hiring", Office)
    monkeypatch.setattr(branches, "FOLD_S", 0.0)
    monkeypatch.setattr(branches, "on_node", lambda node, soft: node)
    made = Branches(new(), [], list(range(5)))
    for rank in range(5):
        made.meet(rank, f"node {rank // 3}")
    return made


def new() -> Any:
    return task(LocalSGD(), num_replicas=5, num_rounds=9, tree=2).fitted_to(3)


def answer(master: Branches, rank: int, push: Tensor | None, round: int = 0) -> int | None:
    array = None if push is None else pack(push)
    ref = Ref()
    ref.set(array)
    master.bring(rank, round, {"form": form(array)}, [ref])
    return master.take(rank, round, round, 1 + rank)


def expected(pushes: Mapping[int, Tensor | None]) -> Tensor:
    whole = Master(new(), range(5))
    for rank, push in pushes.items():
        whole.take(rank, 0, push, weight=1 + rank)
    whole.close()
    return whole.vector


def office(master: Branches) -> Office:
    hired: Any = master._hiring
    return hired


def close(master: Branches) -> Master:
    master.close()
    return master._master


def test_each_group_is_folded_once_where_its_first_replica_lives(master: Branches) -> None:
    for rank in (4, 1, 3, 0, 2):
        assert answer(master, rank, PUSHES[rank]) == 8 * NUM_PARAMS
    assert office(master).asked == [[4], [0, 1], [2, 3]]
    assert torch.equal(close(master).vector, expected(dict(enumerate(PUSHES))))
    assert len(office(master).asked) == 3
    nodes = {"branch-0": ["node 0"], "branch-1": ["node 0"], "branch-2": ["node 1"]}
    assert office(master).nodes == nodes


@pytest.mark.parametrize("error", [ActorDiedError(), None], ids=["dead", "silent"])
def test_a_branch_that_fails_is_replaced_and_no_bit_changes(
    master: Branches, error: BaseException | None
) -> None:
    office(master).fails[1] = error
    for rank, push in enumerate(PUSHES):
        answer(master, rank, push)
    assert torch.equal(close(master).vector, expected(dict(enumerate(PUSHES))))
    assert office(master).dismissed == 1
    for rank, push in enumerate(PUSHES):
        answer(master, rank, push, 1)
    master.close()
    assert office(master).dismissed == 1
    assert len(office(master).nodes["branch-1"]) == 2


def test_a_push_that_is_lost_leaves_the_others_of_its_group(master: Branches) -> None:
    office(master).fails[1] = LOST
    for rank, push in enumerate(PUSHES):
        answer(master, rank, push)
        if rank == 2:
            master._master._pushed[2].where.error = LOST  # type: ignore[union-attr]
    roll = close(master)
    assert roll.entry.fates[2, 0] == Fate.LOST
    assert torch.equal(roll.vector, expected(dict(enumerate(PUSHES)) | {2: None}))
    assert office(master).dismissed == 0


def test_a_group_is_folded_without_the_lost_and_those_who_restart(master: Branches) -> None:
    assert answer(master, 0, None) is None
    answer(master, 3, PUSHES[3])
    master.leave(2)
    answer(master, 1, PUSHES[1])
    answer(master, 4, PUSHES[4])
    assert office(master).asked == [[3], [1], [4]]
    left = dict(enumerate(PUSHES)) | {0: None, 2: None}
    assert torch.equal(close(master).vector, expected(left))


def test_a_late_push_has_its_group_folded_again(master: Branches) -> None:
    for rank in (0, 2, 3, 4):
        answer(master, rank, PUSHES[rank])
    master.close()
    assert office(master).asked == [[2, 3], [4], [0]]
    for rank in (0, 2, 3, 4):
        answer(master, rank, PUSHES[rank], 1)
    answer(master, 1, PUSHES[1], 0)
    roll = close(master)
    assert office(master).asked[3:] == [[0], [2, 3], [4], [0, 1]]
    assert roll.entry.num_late == 1
    assert torch.equal(roll.vector, expected(dict(enumerate(PUSHES))))


def test_a_push_of_another_form_never_reaches_a_branch(master: Branches) -> None:
    wrong = PUSHES[3].float()
    for rank, push in enumerate(PUSHES):
        answer(master, rank, wrong if rank == 3 else push)
    roll = close(master)
    assert office(master).asked == [[0, 1], [2], [4]]
    assert "torch.float32, expected" in roll.entry.reasons[3]
    assert roll.restart.keys() == {3}
