"""The coordinator's half: master vector, round, and what to do with each answer. No I/O."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from torch import Tensor

from parle_ray.errors import Diverged, InputError
from parle_ray.fold import Fold, Pushed
from parle_ray.replica import Reply
from parle_ray.strategies import State
from parle_ray.task import Task


class Master:
    """Keeps the master parameters and closes rounds.

    Args:
        task: fitted to the run.
        ranks: the replicas that take part.

    Attributes:
        vector: `(num_params,)`, the master parameters x_k.
        round: k, the round that is open.
        faults: answers that were refused so far.
    """

    def __init__(self, task: Task, ranks: Iterable[int]) -> None:
        self.flat = task.build()
        self.vector = self.flat.vector
        self.strategy = task.strategy
        self.ranks = sorted(ranks)
        self.round = 0
        self.faults = 0
        self._distance = 0.0
        self._unmeasured: Pushed | None = None
        self.state: State = self.strategy.init_master(self.vector)
        self.inner, self._scheduler = None, None
        if self.strategy.steps_master:
            self.inner, self._scheduler = task.optimizer(self.flat)
        self._fold = Fold(self.vector)
        self._end = task.master_end(self.vector)
        self._pushed: dict[
            int, Tensor | np.ndarray
        ] = {}  # not folded yet: a lower rank is waited for
        self._answered: set[int] = set()
        self._prefix = 0  # so many of the first ranks have answered, at least
        self._refused: set[int] = set()
        self._restart: set[int] = set()  # refused in the round closed last

    @property
    def waiting(self) -> list[int]:
        """The ranks whose answer of the open round is still out."""
        return [rank for rank in self.ranks if rank not in self._answered]

    @property
    def distance(self) -> float:
        """Of the replicas to the master at the last close, as a part of its length.

        It costs another pass, so it is measured when first asked for: after the replies are sent.
        """
        if self._unmeasured is not None:
            self._distance = self.strategy.distance(self.vector, self._unmeasured)
            self._unmeasured = None
        return self._distance

    def join(self, rank: int) -> Reply:
        """Take in a replica that starts from the master, before anybody answered; its reply."""
        self.ranks = sorted({*self.ranks, rank})
        self._restart.discard(rank)
        return self.reply(rank)

    def leave(self, rank: int) -> None:
        """Go on without a replica that was lost; nothing is waited for from it."""
        self.ranks.remove(rank)
        self._prefix = 0
        self.faults += 1
        self._fold_ready()

    def take(self, rank: int, round: int, push: Tensor | np.ndarray | None) -> bool:
        """Enter an answer; False if it is refused already: its replica has to start again.

        Pushes are folded in the order of the ranks, each as soon as all lower ones have answered:
        the same bits in any order of arrival. Until then, and at most until the round closes,
        `push` is read. It is a code with compression; None says that the replica had to restart.
        """
        assert round == self.round, (round, self.round)
        assert rank in self.ranks, (rank, self.ranks)
        assert rank not in self._answered, (rank, self.waiting)
        _ = self.distance  # the fold is about to take its memory
        if push is None:
            self._answered.add(rank)
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
        self._answered.add(rank)
        self._fold_ready()
        return rank not in self._refused

    def _fold_ready(self) -> None:
        lowest = self._lowest_waiting()
        for rank in sorted(rank for rank in self._pushed if rank < lowest):
            push = self._pushed.pop(rank)
            if isinstance(push, np.ndarray):
                assert self._end is not None
                push = self._end.read(push)
            if not self._fold.add(push):
                self.faults += 1
                self._refused.add(rank)

    def _lowest_waiting(self) -> float:
        """The first of `waiting`, without a look at all ranks for every answer."""
        while self._prefix < len(self.ranks) and self.ranks[self._prefix] in self._answered:
            self._prefix += 1
        return self.ranks[self._prefix] if self._prefix < len(self.ranks) else math.inf

    def close(self) -> dict[int, Reply]:
        """Merge what was pushed into the master and open the next round; the replies by rank.

        Raises:
            Diverged: every replica pushed non-finite values.
        """
        assert not self.waiting
        if not self._fold.count and self._refused:
            raise Diverged(
                f"round {self.round}: every replica's parameters became NaN or infinite; lower the "
                "learning rate (inner optimiser or outer_lr), or raise gamma and rho"
            )
        if self._fold.count:
            pushed = self._fold.close()
            self.strategy.merge(self.vector, self.state, pushed, self.round)
            if self.inner is not None:
                self.inner.step()
            self._unmeasured = pushed
        if self._scheduler is not None:
            self._scheduler.step()
        self.round += 1
        self._restart, self._refused = self._refused, set()
        replies = self._replies()
        self._fold.clear()
        self._answered.clear()
        self._prefix = 0
        return replies

    def reply(self, rank: int) -> Reply:
        """What `rank` is told at the close of the round before the open one."""
        restart = rank in self._restart
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
            rank: replace(self.reply(rank), code=None if rank in self._restart else code)
            for rank in self.ranks
        }

    def state_dict(self) -> dict[str, object]:
        """All that the next round depends on, at a moment when no answer is in."""
        assert not self._answered
        return {
            "vector": self.vector,
            "strategy": self.state,
            "round": self.round,
            "faults": self.faults,
            "restart": sorted(self._restart),
            "inner": self.inner.state_dict() if self.inner else None,
            "scheduler": self._scheduler.state_dict() if self._scheduler else None,
            "end": self._end.state_dict() if self._end else {},
        }

    def load_state_dict(self, state: dict) -> None:  # type: ignore[type-arg]
        """Go on from a saved state."""
        self.vector.copy_(state["vector"])
        self.state = state["strategy"]
        self.round, self.faults = state["round"], state["faults"]
        self._restart = set(state["restart"])
        if self.inner is not None:
            self.inner.load_state_dict(state["inner"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        if self._end:
            self._end.load_state_dict(state["end"] or {"known": self._reply})
