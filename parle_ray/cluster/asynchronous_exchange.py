"""The coordinator and replicas of an asynchronous strategy: one question, one reply, one push."""

import time
from typing import Any

import ray

from parle_ray.cluster.exchange import Exchange
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import Parcel
from parle_ray.learner import Answer
from parle_ray.membership.arrivals import Arrivals


class AsynchronousExchange(Exchange):
    """An `Exchange` that sends a replica the master with its question, as soon as it may go on.

    A round of it is the arrivals of one report: its close asks nothing and sends nothing, and the
    replicas walk on over it.
    """

    _roll: Arrivals
    master: Whole

    def open(self, parcels: dict[int, Parcel]) -> None:
        """A round opens; nobody is told."""
        super().open({})

    def _wanted(self) -> list[tuple[int, int]]:
        return [(rank, self._roll.version) for rank in self._roll.ready]

    def deliver(self, parcels: dict[int, Parcel]) -> None:
        """Send the master as it is, with the roll by which a new coordinator goes on from it."""
        self._opened = self._roll.roll_dict()
        super().deliver(parcels)

    def _ask(self, rank: int, round: int) -> None:
        self.deliver(self.master.reply(rank))
        self._roll.ask(rank)
        super()._ask(rank, round)

    def _wants_state(self, round: int) -> bool:
        """The push may come in this round or in the next."""
        return any(
            super(AsynchronousExchange, self)._wants_state(self._roll.round + i) for i in (0, 1)
        )

    def _note(self, rank: int, round: int, answer: Answer, state: ray.ObjectRef | None) -> None:
        before = self.heard.answers.get(rank)
        super()._note(rank, self._roll.round, before.then(answer) if before else answer, state)

    def _done(self, rank: int, round: int) -> None:
        self._questions.answered(rank, round, time.perf_counter(), 0.0)
        del self._members[rank].asked[round]


def exchange_of(master: Any, *args: Any, **options: Any) -> Exchange:
    """The exchange that a master's roll needs; arguments as there."""
    kind = AsynchronousExchange if isinstance(master.roll, Arrivals) else Exchange
    return kind(master, *args, **options)
