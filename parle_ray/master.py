"""The coordinator's half: master vector, round, and what to do with each answer. No I/O."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor

from parle_ray.equations import norm_squared
from parle_ray.errors import InputError
from parle_ray.fold import Fold, Pushed
from parle_ray.partial import Partial
from parle_ray.replica import Reply
from parle_ray.roll import Roll
from parle_ray.strategies import State
from parle_ray.task import Task


class Master(Roll):
    """Keeps the master parameters and closes rounds.

    Args:
        task: fitted to the run.
        ranks: the replicas that take part.
        part: the stretch of the vector to keep, between two parameters if `steps_master`, and to
            be pushed; None is all of it. Several masters, one a stretch, told the same, are one.

    Attributes:
        vector: `(num_params,)`, the master parameters x_k.
    """

    def __init__(self, task: Task, ranks: Iterable[int], part: slice | None = None) -> None:
        super().__init__(ranks)
        flat = task.build()
        self.strategy = task.strategy
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
        self._fold = Fold(self.vector)
        self._end = task.master_end(self.vector)
        self._pushed: dict[int, Tensor | np.ndarray] = {}  # not folded: a lower rank is still out

    @property
    def gap(self) -> float:
        """`mean_a ||x^a - x||^2`, of the replicas to the master, at the last close.

        It costs another pass, so it is measured when first asked for: after the replies are sent.
        """
        if self._unmeasured is not None:
            self._gap = self.strategy.gap(self.vector, self._unmeasured)
            self._unmeasured = None
        return self._gap

    @property
    def distance(self) -> float:
        """`sqrt(gap) / ||x||`: the gap as a part of the master's length."""
        return relative(self.gap, norm_squared(self.vector)) if self.gap else 0.0

    def join(self, rank: int) -> Reply:
        """Take in a replica that starts from the master, before anybody answered; its reply."""
        self.admit(rank)
        return self.reply(rank)

    def leave(self, rank: int) -> None:
        """Go on without a replica that was lost; nothing is waited for from it."""
        self.strike(rank)
        self._fold_ready()

    def take(self, rank: int, round: int, push: Tensor | np.ndarray | None) -> bool:
        """Enter an answer; False if it is refused already: its replica has to start again.

        Pushes are folded in the order of the ranks, each as soon as all lower ones have answered:
        the same bits in any order of arrival. Until then, and at most until the round closes,
        `push` is read. It is a code with compression; None says that the replica had to restart.
        """
        self.tick(rank, round)
        _ = self.gap  # the fold is about to take its memory
        if push is None:
            self._fold_ready()
            return True
        if isinstance(push, Tensor) and (
            push.shape != self.vector.shape or push.dtype != self.vector.dtype
        ):
            raise InputError(
                f"replica {rank} pushed a vector of shape {tuple(push.shape)} and {push.dtype} in "
                f"round {round}, expected {tuple(self.vector.shape)} and {self.vector.dtype}; "
                "model_fn must build the same model everywhere"
            )
        self._pushed[rank] = push
        self._fold_ready()
        return rank not in self._refused

    def _fold_ready(self) -> None:
        lowest = self.lowest_waiting()
        for rank in sorted(rank for rank in self._pushed if rank < lowest):
            push = self._pushed.pop(rank)
            if isinstance(push, np.ndarray):
                assert self._end is not None
                push = self._end.read(push)
            if not self._fold.add(push):
                self.refuse(rank)

    def close(self) -> dict[int, Reply]:
        """Merge what was pushed into the master and open the next round; the replies by rank.

        Raises:
            Diverged: every replica pushed non-finite values.
        """
        self.check(self._fold.count)
        if self._fold.count:
            pushed = self._fold.close()
            self.strategy.merge(self.vector, self.state, pushed, self.round)
            if self.inner is not None:
                self.inner.step()
            self._unmeasured = pushed
        if self._scheduler is not None:
            self._scheduler.step()
        self.turn()
        replies = self._replies()
        self._fold.clear()
        return replies

    def reply(self, rank: int) -> Reply:
        """What `rank` is told at the close of the round before the open one."""
        restart = rank in self.restart
        if self._end:
            return Reply(self._end.known, restart)
        return Reply(self.start if restart else self._reply, restart)

    @property
    def start(self) -> Tensor:
        """Where a replica starts: the master; with compression, what the replicas know of it."""
        return self._end.known if self._end else self.vector

    @property
    def _reply(self) -> Tensor:
        return self.strategy.reply(self.vector, self.state)

    def _replies(self) -> dict[int, Reply]:
        if self._end is None:
            return {rank: self.reply(rank) for rank in self.ranks}
        code = self._end.code(self._reply)
        return {
            rank: replace(self.reply(rank), code=None if rank in self.restart else code)
            for rank in self.ranks
        }

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
        """Go on from a saved state."""
        self.vector.copy_(state["vector"])
        self.state = state["strategy"]
        self.load_roll(state)
        if self._inner_state is not None:
            self._inner_state.load_state_dict(state["inner"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        if self._end:
            self._end.load_state_dict(state["end"] or {"known": self._reply})


def relative(gap: float, length_squared: float) -> float:
    """`sqrt(gap) / ||x||`, where x may be zero."""
    return math.sqrt(gap) / max(math.sqrt(length_squared), 1e-30)
