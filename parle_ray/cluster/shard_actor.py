"""The door to a `Master` of one stretch of the vector: a shard of the master."""

from typing import Any

import numpy as np
import ray
import torch

from parle_ray import lazy_dynamo
from parle_ray.cluster.states import cut_state
from parle_ray.cluster.wire import pack, pack_tree, unpack_tree, view
from parle_ray.equations import norm_squared
from parle_ray.errors import Diverged
from parle_ray.fold import Numbers
from parle_ray.master import Master
from parle_ray.task import Task

Sent = tuple[dict[str, Any], np.ndarray, np.ndarray | None]
"""What there is to tell of a reply, the reply itself, and where those stand who get no code."""


class ShardActor:
    """One stretch of the master. It is told all that a whole master would be, in the same order.

    Args:
        task: a list with the reference of the task.
        index: which shard this is.
    """

    def __init__(self, task: list[ray.ObjectRef], index: int) -> None:
        lazy_dynamo.install()
        self._task: Task = ray.get(task[0])
        self._index = index

    def __repr__(self) -> str:
        return f"shard {self._index}"

    def start(
        self,
        batches_per_pass: int | None,
        codec: str,
        parts: list[slice],
        state: list[ray.ObjectRef],
        ranks: list[int],
    ) -> tuple[dict[str, Any], bool]:
        """Build the stretch, or restore it from a whole master's state.

        Returns:
            The roll, and whether the replies are the master, with no state beside it.
        """
        torch.set_num_threads(self._task.execution.num_threads or 1)
        task, part = self._task.fitted_to(batches_per_pass, codec), parts[self._index]
        self._coded = codec != "none"
        self._master = Master(task, ranks, part)
        self._brought: dict[int, np.ndarray] = {}
        if state:
            self._master.load_state_dict(unpack_tree(cut_state(ray.get(state[0]), part)))
        roll = self._master.roll_dict()
        self._master.restart.clear()  # which the coordinator knows, for all shards
        return roll, self._master.replies_all

    def bring(self, rank: int, round: int, push: np.ndarray) -> tuple[int, str | None]:
        """The stretch of a push has come here; its bytes, and why it cannot be merged if so."""
        self._brought[rank] = push
        return push.nbytes, self._master.wrong(self._read(push), rank, round)

    def take(
        self, rank: int, round: int, seen: int, weight: int, numbers: Numbers, merges: bool
    ) -> None:
        """Enter an answer whose stretches have come everywhere, or that is not merged."""
        push = self._brought.pop(rank, None)
        read = self._read(push) if push is not None and merges else None
        self._master.take(rank, round, read, seen, weight, numbers)

    def join(self, rank: int) -> Sent:
        """Take in a replica that starts from the master; its reply."""
        self._master.join(rank)
        return self.replies(False)

    def leave(self, rank: int) -> None:
        """Go on without a replica that was lost, whatever came of its push."""
        self._brought.pop(rank, None)
        self._master.leave(rank)

    def close(self, others: bool) -> Sent:
        """Close the round; the reply.

        Raises:
            Diverged: numbers that a replica found finite are too large to be merged.
        """
        replies = self._master.close().values()
        if any(reply.restart for reply in replies):
            raise Diverged(
                f"round {self._master.round - 1}: a replica's parameters are too large to be "
                "squared; lower the learning rate (inner optimiser or outer_lr)"
            )
        code = next((reply.code for reply in replies if reply.code is not None), None)
        return self._sent(self._reply() if code is None else code, code, others)

    def replies(self, others: bool) -> Sent:
        """The reply that opened the round that is open."""
        return self._sent(self._reply(), None, others)

    def squares(self) -> tuple[float, float]:
        """`mean_a ||x^a - x||^2` at the last close, and `||x||^2`."""
        return self._master.gap, norm_squared(self._master.vector)

    def place(self) -> np.ndarray:
        """Where a replica starts."""
        return pack(self._master.start)

    def model(self) -> np.ndarray:
        """What is evaluated and saved."""
        return pack(self._master.model)

    def state(self, roll: dict[str, Any]) -> Any:
        """All that the next round depends on, with the whole master's roll."""
        return pack_tree(self._master.state_dict() | roll)

    def _read(self, push: np.ndarray) -> torch.Tensor | np.ndarray:
        return push if self._coded else view(push, self._master.vector.dtype)

    def _reply(self) -> np.ndarray:
        """As it goes to all alike: the restarts are the coordinator's."""
        return pack(self._master.reply(0).vector)

    def _sent(self, reply: np.ndarray, code: np.ndarray | None, others: bool) -> Sent:
        start = pack(self._master.start) if others else None
        told = {
            "coded": code is not None,
            "numbers": self._master.numbers,
            "reply_bytes": reply.nbytes,
            "start_bytes": 0 if start is None else start.nbytes,
        }
        return told, reply, start
