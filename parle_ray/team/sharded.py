"""A replica whose algorithm is cut among its processes: each takes the steps of its share.

A strategy that is coordinate-wise works on some values as on all, and torch's optimisers treat
each parameter by itself. So a process keeps what strategy and optimiser need for its own share
alone. `Stretches` shares no more than that: parameters and gradient each process has whole, as the
module is made of them. `fully_sharded` and `pipeline` share those too.
Source: Rajbhandari et al. (ZeRO), arXiv 1910.02054, stage 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.flat import FlatModule
from parle_ray.partial import Partial
from parle_ray.replica import Replica, Reply
from parle_ray.share import Share
from parle_ray.stretches import stretches
from parle_ray.task import Task
from parle_ray.team.base import Team, Together


class Stateful(Protocol):
    """What an optimiser and a part of one have in common."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Sharing(Together):
    """One of several processes that take the steps of a share each. `divide` comes first.

    Whole replies are cut and whole pushes put together in the first process alone.

    Attributes:
        shares: of the processes, in their order; where there are more, they begin again.
    """

    shares: Sequence[Share]

    @property
    def share(self) -> Share:
        """This process's."""
        return self._share_of(self._group.index)

    def part_of(self, flat: FlatModule, inner: Optimizer) -> tuple[FlatModule, Stateful]:
        """What the algorithm sees of the module, and the state of its part of the optimiser."""
        own = {id(p) for p in flat.parameters}
        return flat, Partial(inner, lambda p: id(p) in own)

    def own(self, reply: Reply) -> Reply:
        return replace(reply, vector=self.share.of(reply.vector)) if self.leads else reply

    def whole(self, own: Tensor) -> Tensor:
        """In the first process, the vector of which each process has its share."""
        if self.on_host:
            own = own.cpu()
        size, nothing = self._group.size, own[:0]
        count = len(self.shares)
        if not self.leads:
            given = own if self._group.index < count else nothing
            self._group.swap([given, *[nothing] * (size - 1)], [nothing] * size)
            return own
        vector = own.new_empty(sum(map(len, self.shares)))
        pieces = [share.of(vector) for share in self.shares]
        self._group.swap([nothing] * size, [*pieces, *[nothing] * (size - count)])
        self.share.put(own, vector)
        for share, piece in zip(self.shares[1:], pieces[1:], strict=True):
            if not share.is_one:
                share.put(piece, vector)
        return vector

    def _share_of(self, index: int) -> Share:
        return self.shares[index % len(self.shares)]

    def _hand_out(self, vector: Tensor) -> None:
        pieces = [self._share_of(index).of(vector) for index in range(self._group.size)]
        self._group.swap(pieces, [vector[:0]] * len(pieces))

    def _handed(self, like: Tensor) -> Tensor:
        device, size = "cpu" if self.on_host else like.device, self._group.size
        vector = torch.empty(len(self.share), dtype=like.dtype, device=device)
        nothing = vector[:0]
        self._group.swap([nothing] * size, [vector, *[nothing] * (size - 1)])
        return vector


class Stretches(Sharing):
    """Each process has a stretch of what strategy and optimiser keep, and everything else whole."""

    def divide(self, flat: FlatModule, device: torch.device) -> FlatModule:
        sizes = [p.numel() for p in flat.parameters]
        self._parts = stretches(sizes, self._group.size, whole_parameters=True, codec="none")
        self.shares = [Share([part]) for part in self._parts]
        return flat

    def part_of(self, flat: FlatModule, inner: Optimizer) -> tuple[FlatModule, Stateful]:
        return super().part_of(Stretch(flat, self._parts[self._group.index]), inner)

    def gather(self, vector: Tensor) -> None:
        self._sums.share([vector[part] for part in self._parts])

    def _add(self, gradient: Tensor) -> None:
        self._sums.add([gradient[part] for part in self._parts])


class Stretch(FlatModule):
    """Some parameters of a flat module, as its algorithm sees them: all there is."""

    def __init__(self, whole: FlatModule, part: slice) -> None:
        self.module, self.parameters = whole.module, whole.inside(part)
        self.vector, self.share = whole.vector[part], Share([part])
        self.vector.grad = whole.gradient[part]
        self.check_views = whole.check_views  # type: ignore[method-assign]


class ShardedReplica(Replica):
    """One process's share of a replica, given its share of replies; its pushes are whole."""

    def __init__(self, team: Sharing, *args: Any) -> None:
        super().__init__(*args)
        self._team = team

    def push(self, round: int) -> Tensor:
        return self._team.whole(super().push(round))


def make_replica(
    flat: FlatModule, inner: Optimizer, task: Task, seat: tuple[int, int], team: Team
) -> tuple[Replica, Stateful]:
    """This process's replica, whole or in part, and the state of its optimiser.

    Args:
        seat: which replica it is, and of how many.
    """
    if not isinstance(team, Sharing):
        return Replica(flat, inner, task.strategy, *seat), inner
    part, state = team.part_of(flat, inner)
    return ShardedReplica(team, part, inner, task.strategy, *seat), state
