"""A replica on a virtual clock: walks, waits where its strategy does, pushes.

It decodes a reply when it needs it, as `Learner` does.
"""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from parle_ray.planning.clock import Action, Clock, Cores
from parle_ray.planning.scenario import Scenario


class SimulatedReplica:
    """The times of a replica; its steps are jobs on the cores of its node.

    Args:
        pushed: told the rank, when a push lies in the object store of its node.

    Attributes:
        ends: when each of its rounds was over, its push in the store.
        stalls: how long it did not compute in each: it waited for the reply, or pushed.
        exchanges: for each round, how long its push waited for its answer.
    """

    def __init__(
        self,
        scenario: Scenario,
        rank: int,
        clock: Clock,
        cores: Cores,
        pushed: Callable[[int], None],
    ) -> None:
        s = self._scenario = scenario
        self._rank, self._clock, self._cores, self._tell = rank, clock, cores, pushed
        self._draw = random.Random(f"{s.seed} {rank}")
        self._replies = Counter({0: s.shards})  # parts by round; a run starts with its first
        self._waiting: Action | None = None
        self._stood_since = self._stalled = 0.0
        self.ends: list[float] = []
        self.stalls: list[float] = []
        self.exchanges: list[float] = []
        self._computed: list[float] = []  # when each push was ready to be stored

    def open(self) -> None:
        """Begin a round."""
        s = self._scenario
        pace = max(0.0, self._draw.gauss(1.0, s.spread)) if s.spread else 1.0
        if s.strategy.overlaps:
            code = partial(self._cores.work, s.decode_s + s.encode_s, self._push)
            self._cores.work(s.walk_s * pace, partial(self._wait, code))
        else:
            walk_s = s.decode_s + s.walk_s * pace + s.encode_s
            self._wait(partial(self._cores.work, walk_s, self._push))

    def receive(self, round: int) -> None:
        """A part of the reply that `round` needs is here."""
        self._replies[round] += 1
        if self._replies[round] == self._scenario.shards:
            self.exchanges.append(self._clock.now - self._computed[round - 1])
        if self._waiting is not None:
            self._go_on(self._waiting)

    def _wait(self, then: Action) -> None:
        self._stood_since = self._clock.now
        self._go_on(then)

    def _go_on(self, then: Action) -> None:
        complete = self._replies[len(self.ends)] == self._scenario.shards
        self._waiting = None if complete else then
        if complete:
            self._stalled += self._clock.now - self._stood_since
            then()

    def _push(self) -> None:
        self._stood_since = self._clock.now
        self._computed.append(self._clock.now)
        self._cores.work(self._scenario.push_s, self._pushed)

    def _pushed(self) -> None:
        self.ends.append(self._clock.now)
        self.stalls.append(self._stalled + self._clock.now - self._stood_since)
        self._stalled = 0.0
        self._tell(self._rank)
        if len(self.ends) < self._scenario.num_rounds:
            self.open()
