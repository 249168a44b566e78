"""The master in the coordinator's own process, and its vectors in the object store."""

from typing import Any

import numpy as np
import ray
import torch

from parle_ray.asynchronous import make_master
from parle_ray.cluster.states import cut_state
from parle_ray.cluster.wire import Parcel, pack, pack_tree, unpack_tree, view
from parle_ray.fold import Numbers
from parle_ray.replica import Reply
from parle_ray.task import Task


class Whole:
    """A `Master`, fed and read by reference.

    Args:
        task: fitted to the run.
        state: a list with the reference of that to go on from, or an empty one.
        ranks: the replicas that are at work.
    """

    def __init__(self, task: Task, state: list[ray.ObjectRef], ranks: list[int]) -> None:
        self._coded = task.compression != "none"
        self.roll = self._master = make_master(task, ranks)
        self._brought: dict[int, ray.ObjectRef] = {}
        if state:
            self._master.load_state_dict(unpack_tree(ray.get(state[0])))

    @property
    def replies_all(self) -> bool:
        """Whether the replies are the master, with no state beside it."""
        return self._master.replies_all

    @property
    def distance(self) -> float:
        """Of the replicas to the master at the last close."""
        return self._master.distance

    def start(self) -> list[ray.ObjectRef]:
        """Where a replica starts."""
        return [ray.put(pack(self._master.start))]

    def model(self) -> list[ray.ObjectRef]:
        """What is evaluated and saved."""
        return [ray.put(pack(self._master.model))]

    @property
    def moved(self) -> slice | None:
        """The stretch of the vector that the round closed last has moved; None: it moved it all."""
        return self._master.moved

    def state(self, part: slice | None = None) -> list[ray.ObjectRef]:
        """All that the next round depends on, or of its vectors a stretch."""
        state = pack_tree(self._master.state_dict())
        return [ray.put(state if part is None else cut_state(state, part))]

    def meet(self, rank: int, node: str) -> None:
        """A replica takes part, and where it runs."""

    def bring(
        self, rank: int, round: int, told: dict[str, Any], pushes: list[ray.ObjectRef]
    ) -> ray.ObjectRef | None:
        """An answer is there; there is nothing to wait for before it is taken."""
        (self._brought[rank],) = pushes
        return None

    def take(
        self, rank: int, round: int, seen: int, weight: int, numbers: Numbers = ()
    ) -> int | None:
        """Enter it (see `Master.take`); its bytes, None if its replica had to restart."""
        push = ray.get(self._brought.pop(rank))
        self._master.take(rank, round, self._read(push), seen, weight, numbers)
        return None if push is None else push.nbytes

    def close(self) -> dict[int, Parcel]:
        """Close the round; the replies by rank."""
        return self._parcels(self._master.close())

    def replies(self) -> dict[int, Parcel]:
        """What opened the round that is open."""
        return self._parcels({rank: self._master.reply(rank) for rank in self._master.ranks})

    def reply(self, rank: int) -> dict[int, Parcel]:
        """What one replica is told of the master as it is."""
        return self._parcels({rank: self._master.reply(rank)})

    def join(self, rank: int) -> dict[int, Parcel]:
        """Take in a replica that starts from the master; its reply."""
        return self._parcels({rank: self._master.join(rank)})

    def leave(self, rank: int, *, lost: bool = True) -> None:
        """Go on without a replica that was lost, or has left."""
        self._master.leave(rank, lost=lost)

    def _read(self, push: np.ndarray | None) -> torch.Tensor | np.ndarray | None:
        if push is None or self._coded:
            return push
        return view(push, self._master.vector.dtype)

    def _parcels(self, replies: dict[int, Reply]) -> dict[int, Parcel]:
        """Equal replies as one object."""
        refs: dict[tuple[int, int], ray.ObjectRef] = {}
        parcels = {}
        for rank, reply in replies.items():
            coded = reply.code is not None
            array = pack(reply.vector if reply.code is None else reply.code)
            key = array.ctypes.data, array.nbytes
            if key not in refs:
                refs[key] = ray.put(array)
            sent = [refs[key]], array.nbytes, reply.restart, coded, reply.part, reply.numbers
            parcels[rank] = Parcel(*sent)
        return parcels
