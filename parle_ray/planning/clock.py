"""A virtual clock, and the two things one waits for on it: cores and links."""

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Clock:
    """Runs actions in the order of their times; equal times in the order of asking."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Action]] = []

    def at(self, time: float, action: Action) -> None:
        """Do it then."""
        heapq.heappush(self._events, (time, next(self._order), action))

    def run(self) -> None:
        """Until nothing is left to do."""
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()


class Cores:
    """The cores of a node, shared equally by all that runs there.

    With k jobs each goes at the speed `min(1, num_cores / k)`, as under a fair scheduler. All jobs
    run at one speed, so they end in the order of `work received so far + own work`, which does not
    change when others come and go.
    """

    def __init__(self, clock: Clock, num_cores: float) -> None:
        self._clock, self._num_cores = clock, num_cores
        self._order = count()
        self._jobs: list[tuple[float, int, Action]] = []  # by the work received when they end
        self._received = 0.0  # by a job that was here all the time
        self._seen_at = 0.0
        self._newest = 0

    def work(self, seconds: float, done: Action) -> None:
        """A job of so many seconds on a core of its own."""
        self._catch_up()
        heapq.heappush(self._jobs, (self._received + seconds, next(self._order), done))
        self._expect()

    def _speed(self) -> float:
        return min(1.0, self._num_cores / len(self._jobs))

    def _catch_up(self) -> None:
        if self._jobs:
            self._received += (self._clock.now - self._seen_at) * self._speed()
        self._seen_at = self._clock.now

    def _expect(self) -> None:
        """Look again when the next job ends, unless another comes or goes before."""
        self._newest += 1
        if self._jobs:
            expected = self._newest
            left = max(0.0, self._jobs[0][0] - self._received)
            self._clock.at(self._clock.now + left / self._speed(), lambda: self._end(expected))

    def _end(self, expected: int) -> None:
        if expected != self._newest:
            return
        self._catch_up()
        self._received = self._jobs[0][0]  # exactly, whatever was lost in rounding
        ended = []
        while self._jobs and self._jobs[0][0] <= self._received:
            ended.append(heapq.heappop(self._jobs)[2])
        self._expect()
        for done in ended:
            done()


class Line:
    """One direction of a link: first come, first served."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def enter(self, now: float, num_bytes: float) -> tuple[float, float]:
        """When the first byte goes through, and when the last has."""
        start = max(now, self._free_at)
        self._free_at = start + num_bytes / self._bytes_per_s
        return start, self._free_at


class Node:
    """A machine: its cores, and its full-duplex link.

    Attributes:
        ranks: the replicas that live here.
        sent, received: bytes that crossed its link.
    """

    def __init__(
        self, clock: Clock, num_cores: float, bytes_per_s: float, ranks: list[int]
    ) -> None:
        self.cores = Cores(clock, num_cores)
        self.ranks = ranks
        self.sent = self.received = 0.0
        self._clock = clock
        self._up, self._down = Line(bytes_per_s), Line(bytes_per_s)

    def send(self, other: "Node", num_bytes: float, latency_s: float, arrived: Action) -> None:
        """Bytes to another node, which begin to come in while they still go out.

        Within a node nothing is sent: its processes map one object store.
        """
        if other is self:
            self._clock.at(self._clock.now, arrived)
            return
        self.sent += num_bytes
        other.received += num_bytes

        def come_in() -> None:
            self._clock.at(other._down.enter(self._clock.now, num_bytes)[1], arrived)

        first_byte, _ = self._up.enter(self._clock.now, num_bytes)
        self._clock.at(first_byte + latency_s, come_in)
