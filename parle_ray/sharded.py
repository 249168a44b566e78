"""A replica whose algorithm is cut among its processes: each takes the steps of one stretch.

A strategy that is coordinate-wise works on a stretch as on the whole, and torch's optimisers treat
each parameter by itself. So a process keeps what strategy and optimiser need for its own stretch
alone; parameters and gradient it has whole, as the module is made of them.
Source: Rajbhandari et al. (ZeRO), arXiv 1910.02054, stage 1.
"""

from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer

from parle_ray.flat import FlatModule
from parle_ray.partial import Partial
from parle_ray.replica import Replica, Reply
from parle_ray.task import Task
from parle_ray.team import Sharing, Team


class Stateful(Protocol):
    """What an optimiser and a part of one have in common."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Stretch(FlatModule):
    """Some parameters of a flat module, as its algorithm sees them: all there is."""

    def __init__(self, whole: FlatModule, part: slice) -> None:
        self.module, self.parameters = whole.module, whole.inside(part)
        self.vector = whole.vector[part]
        self.vector.grad = whole.gradient[part]
        self.check_views = whole.check_views  # type: ignore[method-assign]


class ShardedReplica(Replica):
    """One process's share of a replica. It is given whole replies, and gives whole pushes."""

    def __init__(self, team: Sharing, *args: Any) -> None:
        super().__init__(*args)
        self._team = team

    def begin(self, round: int, reply: Reply) -> None:
        super().begin(round, replace(reply, vector=reply.vector[self._team.part]))

    def end(self, round: int, reply: Reply) -> bool:
        return super().end(round, replace(reply, vector=reply.vector[self._team.part]))

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
    stretch = Stretch(flat, team.part)
    own = {id(p) for p in stretch.parameters}
    state = Partial(inner, lambda p: id(p) in own)
    return ShardedReplica(team, stretch, inner, task.strategy, *seat), state
