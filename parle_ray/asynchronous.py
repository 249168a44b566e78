"""The coordinator's half of an asynchronous strategy: each push moves the master when it comes."""

from typing import Any

from torch import Tensor

from parle_ray.fold import Numbers
from parle_ray.master import Master, Push
from parle_ray.membership.arrivals import Arrivals
from parle_ray.membership.roll import NOT_FINITE
from parle_ray.replica import Reply
from parle_ray.strategies.base import AsynchronousStrategy
from parle_ray.task import Task


class AsynchronousMaster(Master, Arrivals):
    """A `Master` that merges every push at once, alone; arguments as there.

    `ready` says whom to `ask`, and `reply` what is sent with the question. A round is n arrivals;
    its close merges nothing. The master is the fold of the ledger in the order of its entries.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gaps: list[float] = []

    @staticmethod
    def rules(task: Task) -> dict[str, Any]:
        strategy, n = task.strategy, task.num_replicas
        assert isinstance(strategy, AsynchronousStrategy)
        return {
            "window": n,
            "num_rounds": task.num_rounds,
            "most_ahead": strategy.most_ahead,
            "most_stale": strategy.most_stale_rounds * n,
        }

    def take(
        self,
        rank: int,
        round: int,
        push: Push | None,
        seen: int | None = None,
        weight: int = 1,
        numbers: Numbers = (),
    ) -> bool:
        """Enter an answer and merge its push; False if there is nothing of it in the master.

        Args:
            round: the version that the replica was asked for.
            push: None says that the replica had to restart.
        """
        if not self.tick(rank, round, round, empty=push is None):
            return False
        wrong = self.wrong(push, rank, self.round)
        if wrong is None:
            vector = self._vector_of(push, self.moving)
            if not self._fold.add(vector, numbers=numbers):
                wrong = NOT_FINITE
        if wrong:
            self.refuse(rank, wrong)
            return False
        self._gaps.append(self.strategy.gap(self.vector, self._merge()))
        self._fold.clear()
        self.merged(rank)
        return True

    def close(self) -> dict[int, Reply]:
        """Open the next round; the replies have gone out with the questions.

        Raises:
            Diverged: every replica pushed values that are not finite, and nothing else.
            InputError: every replica pushed what is no vector of this model.
        """
        self.check()
        self._gap = sum(self._gaps) / len(self._gaps) if self._gaps else 0.0
        self._gaps.clear()
        self.turn()
        return {}

    def reply(self, rank: int) -> Reply:
        """What `rank` is told with its next question; whole, also where pushes are codes."""
        restart = rank in self.restart
        return Reply(self.start if restart else self._reply, restart, numbers=self.numbers)

    @property
    def start(self) -> Tensor:
        """Where a replica starts: the master."""
        return self.vector

    @property
    def replies_all(self) -> bool:
        bare = not self.state and self.inner is None
        return bare and self._reply is self.vector


def make_master(task: Task, ranks: Any) -> Master:
    """The master of a whole vector that the task's strategy needs."""
    kind = Master if task.strategy.synchronous else AsynchronousMaster
    return kind(task, ranks)
