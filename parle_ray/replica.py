"""One copy of the model, walking alone between two exchanges. No I/O."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.flat import FlatModule
from parle_ray.fold import Numbers
from parle_ray.strategies import State, Strategy


@dataclass(frozen=True)
class Reply:
    """What the coordinator answers to a push.

    Attributes:
        vector: `(num_params,)`: the strategy's reply, or the master itself if `restart`; with
            compression, what the replica then knows of it.
        restart: the push was refused; the replica starts again from the master.
        code: with compression, the form in which the vector travels, unless it goes uncoded; the
            far end has it alone, and an empty vector.
        part: the stretch of the whole that the vector, or its code, is; None: it is the whole.
        numbers: `Strategy.announce`.
    """

    vector: Tensor
    restart: bool = False
    code: np.ndarray | None = None
    part: slice | None = None
    numbers: Numbers = ()


class Replica:
    """The replica's half of a strategy: its vectors, its optimiser, and the order of the verbs.

    Round k is `begin(k, reply)` or `end(k, reply)`, whichever the strategy waits in, with the
    `local_step`s between them and a `push` at the close. `reply` answers the push of round k-1, and
    has what that round moved; in a replica's first round it is of the master it started from. One
    that tells it to restart is whole.
    """

    def __init__(
        self,
        flat: FlatModule,
        inner: Optimizer,
        strategy: Strategy,
        rank: int = 0,
        num_replicas: int = 1,
    ) -> None:
        self.flat = flat
        self.inner = inner
        self.strategy = strategy
        self._seat = rank, num_replicas
        self.take(strategy.init_replica(flat.vector))
        self.fresh = True

    def take(self, state: State) -> None:
        """Go on with a state, new or saved, from the seat that this replica has in this run."""
        self.state = state
        self.strategy.seat(state, *self._seat)

    def start_from(self, master: Tensor) -> None:
        """Stand at the master with nothing of the past: at the start, or after a fault."""
        self.flat.vector.copy_(master)
        self.take(self.strategy.init_replica(self.flat.vector))
        self.inner.state.clear()
        self.fresh = True

    def begin(self, round: int, reply: Reply) -> None:
        """Open the round of a blocking strategy: take in the answer to the last push."""
        if reply.restart:
            self.start_from(reply.vector)
        elif not self.fresh:
            self.strategy.pull(self.flat.vector, self.state, reply.vector, round - 1)
        self.strategy.hear(self.state, reply.numbers, round)

    def local_step(self, round: int) -> None:
        """One mini-batch, whose gradient stands in `flat.gradient`."""
        self.flat.check_views()
        self.strategy.local_step(self.flat.vector, self.state, self.inner, round)
        self.fresh = False

    def rest(self, round: int) -> None:
        """End a leg that is not the last of its round."""
        self.strategy.rest(self.flat.vector, self.state, round)

    def meet(self, mean: Tensor) -> None:
        """Take in the mean of the processes that walk apart."""
        self.strategy.meet(self.state, mean)

    def end(self, round: int, reply: Reply) -> bool:
        """Close the round of an overlapping strategy; False if its work is lost to a restart."""
        if reply.restart:
            self.start_from(reply.vector)
        else:
            self.strategy.pull(self.flat.vector, self.state, reply.vector, round)
        self.strategy.hear(self.state, reply.numbers, round + 1)
        return not reply.restart

    def push(self, round: int) -> Tensor:
        """What goes to the coordinator (see `Strategy.push`), to be read before going on."""
        return self.strategy.push(self.flat.vector, self.state, self.inner, round)
