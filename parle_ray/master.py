"""The coordinator's half: master vector, round, and what to do with each answer. No I/O."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from parle_ray.equations import norm_squared
from parle_ray.fold import Fold, Numbers, Pushed, Term
from parle_ray.membership.roll import NOT_FINITE, Roll
from parle_ray.moving import inside, length, merge
from parle_ray.partial import Partial
from parle_ray.replica import Reply
from parle_ray.strategies import State
from parle_ray.task import Task
from parle_ray.tree import Elsewhere, Group, fold_groups, grouped

Push = Tensor | np.ndarray | Elsewhere
"""A vector, or a code with compression."""
Groups = Mapping[int, Mapping[int, Any]]
"""Index -> rank -> push."""
FoldGroups = Callable[[int, Groups, Mapping[int, Term]], Iterable[Group]]


class Master(Roll):
    """Keeps the master parameters and closes rounds.

    Args:
        task: fitted to the run.
        ranks: the replicas that take part.
        part: the stretch of the vector to keep, between two parameters if `steps_master`, and to
            be pushed; None is all of it. Several masters, one a stretch, told the same, are one, if
            the strategy moves the whole vector in every round.

    Attributes:
        vector: `(num_params,)`, the master parameters x_k.
        terms: rank -> of its newest push, in the mean of what the round moves.
        fold_groups: what folds the groups of a tree, given the length of the mean, the groups and
            the terms; to be replaced where pushes are elsewhere.
    """

    def __init__(self, task: Task, ranks: Iterable[int], part: slice | None = None) -> None:
        super().__init__(ranks, **self.rules(task))
        flat = task.build()
        self.strategy, self._num_replicas = task.strategy, task.num_replicas
        self._num_params = len(flat.vector)
        self._part = slice(0, self._num_params) if part is None else part
        self.inner, self._scheduler, self._inner_state = None, None, None
        if self.strategy.steps_master:
            self.inner, self._scheduler = task.optimizer(flat)
            flat = flat if part is None else flat.cut(part)
            self._inner_state = Partial(self.inner)
            self.vector = flat.vector
        else:
            self.vector = flat.vector if part is None else flat.vector[part].clone()
        self._gap = 0.0
        self._unmeasured: Pushed | None = None
        self.state: State = self.strategy.init_master(self.vector)
        self._moved, self._fold = self.vector, Fold(self.vector[self.moving])
        self._end = task.master_end(self.vector)
        self._tree = task.tree
        self.fold_groups: FoldGroups = fold_groups
        self._pushed: dict[int, Push] = {}  # not folded: a lower rank is still out
        self._aside: dict[int, Push] = {}  # of those whom nobody waits for
        self.terms: dict[int, Term] = {}

    @staticmethod
    def rules(task: Task) -> dict[str, Any]:
        """The arguments of the roll."""
        return late_rules(task)

    @property
    def gap(self) -> float:
        """`mean_a ||x^a - x||^2`, of the replicas to the master, at the last close.

        It costs another pass, so it is measured when first asked for: after the replies are sent.
        """
        if self._unmeasured is not None:
            self._gap = self.strategy.gap(self._moved, self._unmeasured)
            self._unmeasured = None
        return self._gap

    @property
    def distance(self) -> float:
        """`sqrt(gap) / ||x||`: the gap as a part of the length of what of the master has moved."""
        return relative(self.gap, norm_squared(self._moved)) if self.gap else 0.0

    @property
    def moving(self) -> slice:
        """The stretch of the vector that the open round moves."""
        return self.strategy.moves(self.round, len(self.vector))

    @property
    def moved(self) -> slice | None:
        """The stretch that the round before it has moved; None: all of it."""
        if self.strategy.moves_all:
            return None
        return self.strategy.moves(self.round - 1, len(self.vector))

    def place(self, rank: int, round: int) -> slice:
        """Where in what a round moves the push of a replica lies."""
        sends = self.strategy.sends(round, self._num_params, rank, self._num_replicas)
        return inside(inside(sends, self._part), self.strategy.moves(round, len(self.vector)))

    def join(self, rank: int) -> Reply:
        """Take in a replica that starts from the master, before anybody answered; its reply."""
        self.admit(rank)
        return self.reply(rank)

    def leave(self, rank: int, *, lost: bool = True) -> None:
        """Go on without a replica that was lost, or has left; nothing is waited for from it."""
        if lost:
            self.strike(rank)
        else:
            self.part(rank)
        self._fold_ready()

    def take(
        self,
        rank: int,
        round: int,
        push: Push | None,
        seen: int | None = None,
        weight: int = 1,
        numbers: Numbers = (),
    ) -> bool:
        """Enter an answer; False if its push will not be merged, as far as can be said now.

        Pushes are folded in the order of the ranks, each as soon as all lower ones have answered,
        and at the close those that nobody waited for: the same bits in any order of arrival.
        Until then, and at most until the round closes, `push` is read. In a tree all are folded at
        the close, each in its group.

        Args:
            round: that the replica was asked for; an earlier one than the open if it is late.
            push: None says that the replica had to restart.
            seen: the round that the newest reply opened which the replica had; None: `round`.
            weight: of the push in the mean (see `Strategy.weight`).
            numbers: that came with the push.
        """
        awaited = rank in self.ranks and round == self.round and self._awaited(rank)
        merges = self.tick(rank, round, round if seen is None else seen, empty=push is None)
        if merges:
            _ = self.gap  # the fold is about to take its memory
            wrong = self.wrong(push, rank, round)
            self._aside.pop(rank, None)
            if wrong:
                self.refuse(rank, wrong)
            else:
                (self._pushed if awaited else self._aside)[rank] = push  # type: ignore[assignment]
                self.terms[rank] = Term(weight, self.place(rank, round), numbers)
        self._fold_ready()
        return merges and rank not in self._open.reasons

    def pushed_by(self, ranks: Iterable[int]) -> dict[int, Push]:
        """What these have pushed so far in the open round; nothing while one is waited for."""
        there = [rank for rank in ranks if rank in self.ranks]
        if any(self._awaited(rank) for rank in there):
            return {}
        pushes = self._pushed | self._aside
        return {rank: pushes[rank] for rank in ranks if rank in pushes}

    def wrong(self, push: Push | None, rank: int, round: int) -> str | None:
        """Why this is no vector, or no code of one, that a replica pushes in a round; or None."""
        if isinstance(push, Elsewhere):
            return None
        size = length(self.place(rank, round))
        if self._end is not None:
            return self._end.wrong(push, size)
        if not isinstance(push, Tensor):
            return f"a {type(push).__name__}, expected a vector"
        if push.shape == (size,) and push.dtype == self.vector.dtype:
            return None
        return (
            f"shape {tuple(push.shape)} and {push.dtype}, expected {(size,)} and "
            f"{self.vector.dtype}"
        )

    def _fold_ready(self) -> None:
        if not self._tree:
            self._fold_below(self.lowest_waiting())

    def _fold_below(self, limit: float) -> None:
        for rank in sorted(rank for rank in self._pushed if rank < limit):
            term = self.terms[rank]
            push = self._vector_of(self._pushed.pop(rank), term.place)
            if not self._fold.add(push, term.weight, numbers=term.numbers, place=term.place):
                self.refuse(rank, NOT_FINITE)

    def _vector_of(self, push: Push | None, place: slice) -> Tensor:
        if isinstance(push, np.ndarray):
            assert self._end is not None
            start = self.moving.start
            push = self._end.read(push, slice(start + place.start, start + place.stop))
        assert isinstance(push, Tensor)
        return push

    def _fold_all(self) -> None:
        if self._tree:
            self._fold_tree(self._tree)
            return
        self._fold_below(math.inf)
        self._pushed, self._aside = self._aside, {}
        self._fold_below(math.inf)

    def _fold_tree(self, size: int) -> None:
        groups = grouped(self._pushed | self._aside, size)
        self._pushed, self._aside = {}, {}
        folded = self.fold_groups(length(self.moving), groups, self.terms)
        for pushes, group in zip(groups.values(), folded, strict=True):
            self._fold_in(pushes, group)

    def _fold_in(self, ranks: Iterable[int], group: Group) -> None:
        one, refused = group.pushed, group.refused
        if one and not self._fold.add(one.mean, one.count, one.spread, numbers=one.numbers):
            refused = group.merged + refused
        for rank in refused:
            self.refuse(rank, NOT_FINITE)
        for rank in {*ranks}.difference(group.merged, group.refused):
            self.lose(rank)

    def close(self) -> dict[int, Reply]:
        """Merge what was pushed into the master and open the next round; the replies by rank.

        Raises:
            Diverged: every replica pushed values that are not finite.
            InputError: every replica pushed what is no vector of this model.
        """
        self._fold_all()
        self.check()
        if self._fold.count:
            self._unmeasured = self._merge()
        self.turn()
        replies = self._replies()
        self._fold.begin(length(self.moving))
        return replies

    def turn(self) -> None:
        if self._scheduler is not None:
            self._scheduler.step()
        super().turn()

    def _merge(self) -> Pushed:
        """Move the master by what was folded."""
        pushed = self._fold.close()
        self._moved = merge(self.strategy, self.vector, self.state, pushed, self.round)
        if self.inner is not None:
            self.inner.step()
        self.strategy.follow(self.vector, self.state, self.round)
        return pushed

    def reply(self, rank: int) -> Reply:
        """What `rank` is told at the close of the round before the open one."""
        restart = rank in self.restart
        if self._end:
            return Reply(self._end.known, restart, numbers=self.numbers)
        return Reply(self.start if restart else self._reply, restart, numbers=self.numbers)

    @property
    def numbers(self) -> Numbers:
        """What goes with every reply."""
        return self.strategy.announce(self.state)

    @property
    def start(self) -> Tensor:
        """Where a replica starts: the master; with compression, what the replicas know of it."""
        return self._end.known if self._end else self.vector

    @property
    def model(self) -> Tensor:
        """What is evaluated and saved, `(num_params,)`."""
        return self.strategy.model(self.vector, self.state)

    @property
    def replies_all(self) -> bool:
        """Whether a reply is all that the next round depends on, with the roll."""
        bare = not self.state and self.inner is None and self._end is None
        return bare and self.strategy.moves_all and self._reply is self.vector

    @property
    def _reply(self) -> Tensor:
        return self.strategy.reply(self.vector, self.state)

    def _replies(self) -> dict[int, Reply]:
        news = self._news()
        return {
            rank: news if news is not None and self.follows(rank) else self.reply(rank)
            for rank in self.ranks
        }

    def _news(self) -> Reply | None:
        """The reply to who has the one before it, if that is another than to who has not."""
        part = self.moved
        stretch = self._reply if part is None else self._reply[part]
        if self._end is not None:
            code = self._end.code(stretch, part)
            return Reply(self._end.known, code=code, part=part, numbers=self.numbers)
        return None if part is None else Reply(stretch, part=part, numbers=self.numbers)

    def state_dict(self) -> dict[str, object]:
        """All that the next round depends on, at a moment when no answer is in."""
        return {
            **self.roll_dict(),
            "vector": self.vector,
            "strategy": self.state,
            "inner": self._inner_state.state_dict() if self._inner_state else None,
            "scheduler": self._scheduler.state_dict() if self._scheduler else None,
            "end": self._end.state_dict() if self._end else {},
        }

    def load_state_dict(self, state: dict) -> None:  # type: ignore[type-arg]
        """Go on from a saved state; what it does not have of the past begins anew."""
        self.vector.copy_(state["vector"])
        self.state = self.strategy.init_master(self.vector) | state["strategy"]
        self.load_roll(state)
        self._fold.begin(length(self.moving))
        if self._inner_state is not None and state["inner"] is not None:
            self._inner_state.load_state_dict(state["inner"])
        if self._scheduler is not None and state["scheduler"] is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        if self._end:
            self._end.load_state_dict(state["end"] or {"known": self._reply})


def late_rules(task: Task) -> dict[str, bool]:
    """How a `Roll` is to treat late pushes, by the strategy and the form in which they travel."""
    coded = task.compression != "none"
    return {
        "merges_late": task.strategy.merges_late,
        "measured": coded and task.strategy.pushes_near_master,
    }


def relative(gap: float, length_squared: float) -> float:
    """`sqrt(gap) / ||x||`, where x may be zero."""
    return math.sqrt(gap) / max(math.sqrt(length_squared), 1e-30)
