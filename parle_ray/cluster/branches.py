"""The master in the coordinator's own process, fed by a branch for each group of replicas."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ObjectLostError
from torch import Tensor

from parle_ray.cluster.branch_actor import BranchActor
from parle_ray.cluster.hiring import Hiring
from parle_ray.cluster.losses import ENDED
from parle_ray.cluster.nodes import on_node
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import form, pack, view
from parle_ray.fold import Fold, Numbers, Pushed, Term
from parle_ray.master import Groups
from parle_ray.moving import length
from parle_ray.task import Task
from parle_ray.tree import Elsewhere, Group, fold_group

Refs = dict[int, ray.ObjectRef]
"""Of pushes, by rank."""
FOLD_S = 60.0
"""How long branches may take at the close of a round; a new one has its process to start."""


class Branches(Whole):
    """A `Master` that gets one vector of each group (see `tree`), folded on the group's node.

    A branch is given the references of the pushes when nobody of its group is waited for, and
    again at the close if there are others by then; the mean that comes back is all that is fetched
    here. Branches are the coordinator's own, and end with it. It hires one where the first replica
    of a group lives, and another when that is lost. What a lost branch was to fold is folded here,
    from the same references, to the same bits.

    The arguments are those of `Whole`.
    """

    def __init__(self, task: Task, state: list[ray.ObjectRef], ranks: list[int]) -> None:
        super().__init__(task, state, ranks)
        assert task.tree is not None
        self._size = task.tree
        self._threads = task.execution.num_threads or 1
        self._master.fold_groups = self._fold
        self._forms: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}
        own_name = ray.get_runtime_context().get_actor_name() or ""
        self._hiring = Hiring(own_name.rpartition("/")[0])
        self._branches: dict[int, Any] = {}
        self._asked: dict[int, tuple[Refs, list[ray.ObjectRef]]] = {}

    def meet(self, rank: int, node: str) -> None:
        """A replica takes part; if it is the first of its group, a branch comes to its node."""
        self._nodes[rank] = node
        self._branch(rank // self._size)

    def bring(
        self, rank: int, round: int, told: dict[str, Any], pushes: list[ray.ObjectRef]
    ) -> None:
        """An answer is there; nothing of its push has to come here before it is taken."""
        self._forms[rank] = told.pop("form")
        super().bring(rank, round, told, pushes)

    def take(
        self, rank: int, round: int, seen: int, weight: int, numbers: Numbers = ()
    ) -> int | None:
        """Enter it (see `Master.take`); its bytes, None if its replica had to restart."""
        like = pack(self._master.vector[: length(self._master.place(rank, round))])
        if self._forms.pop(rank) != form(like):
            num_bytes = super().take(rank, round, seen, weight, numbers)
        else:
            push = Elsewhere(self._brought.pop(rank))
            self._master.take(rank, round, push, seen, weight, numbers)
            num_bytes = like.nbytes
        self._look_at_group_of(rank)
        return num_bytes

    def leave(self, rank: int, *, lost: bool = True) -> None:
        """Go on without a replica; its group may be complete without it."""
        super().leave(rank, lost=lost)
        self._look_at_group_of(rank)

    def _look_at_group_of(self, rank: int) -> None:
        index = rank // self._size
        pushes = self._master.pushed_by(range(index * self._size, (index + 1) * self._size))
        if pushes:
            self._ask(index, _refs(pushes))

    def _ask(self, index: int, pushes: Refs) -> list[ray.ObjectRef]:
        """Have a group folded, if that was not asked for; the references of the answer."""
        if index not in self._asked or self._asked[index][0] != pushes:
            fold = self._branch(index).fold.options(num_returns=2)
            terms = {rank: self._master.terms[rank] for rank in pushes}
            answer = fold.remote(length(self._master.moving), terms, *pushes.values())
            self._asked[index] = pushes, answer
        return self._asked[index][1]

    def _fold(self, num_params: int, groups: Groups, terms: Mapping[int, Term]) -> Iterator[Group]:
        """See `Master.fold_groups`; branches were told the terms with the pushes."""
        means = [self._ask(index, _refs(groups[index]))[1] for index in groups]
        ready, _ = ray.wait(means, num_returns=len(means), timeout=FOLD_S) if means else ([], [])
        for index in groups:
            pushes, answer = self._asked.pop(index)
            if answer[1] not in ready:
                self._give_up(index)
            group = self._fetch(index, answer) if answer[1] in ready else None
            yield group or self._fold_here(num_params, pushes, terms)

    def _fetch(self, index: int, answer: list[ray.ObjectRef]) -> Group | None:
        """What the branch made of its group; None if it is lost, or a push is."""
        try:
            (count, spread, numbers, merged, refused), mean = ray.get(answer)
        except ObjectLostError:
            return None
        except ENDED:
            self._give_up(index)
            return None
        if mean is None:
            return Group(None, merged, refused)
        vector = view(mean, self._master.vector.dtype)
        return Group(Pushed(vector, count, spread, numbers), merged, refused)

    def _fold_here(self, num_params: int, pushes: Refs, terms: Mapping[int, Term]) -> Group:
        """The same; a push that was lost with its node is left out."""
        vectors: dict[int, Tensor] = {}
        for rank, ref in pushes.items():
            with suppress(ObjectLostError):
                vectors[rank] = view(ray.get(ref), self._master.vector.dtype)
        return fold_group(Fold(self._master.vector[:0]), num_params, vectors, terms)

    def _branch(self, index: int) -> Any:
        """That of a group; a new one, where its first replica lives, if there is none."""
        if index not in self._branches:
            first = min(rank for rank in self._nodes if rank // self._size == index)
            self._branches[index] = self._hiring.hire(
                BranchActor,
                f"branch-{index}",
                index,
                self._master.vector.dtype,
                self._threads,
                num_cpus=0,
                scheduling_strategy=on_node(self._nodes[first], soft=True),
            )
        return self._branches[index]

    def _give_up(self, index: int) -> None:
        self._hiring.dismiss([self._branches.pop(index)])


def _refs(pushes: Mapping[int, Any]) -> Refs:
    return {rank: push.where for rank, push in pushes.items()}
