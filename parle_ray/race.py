"""Replicas that walk at speeds of their own, on a virtual clock: who arrives next."""

import heapq
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from parle_ray.errors import InputError
from parle_ray.strategies import Strategy
from parle_ray.uneven import BySpeed, Told


class Race:
    """The order in which walks end, the same on every machine.

    A walk of replica a takes 1/speed[a] from the moment that it sets out. Walks that end at one
    time arrive in the order of their ranks, so replicas of one speed arrive round robin.

    Args:
        speeds: walks in a unit of time, by rank.

    >>> race = Race([1.0, 2.0])
    >>> race.start(0), race.start(1)
    (None, None)
    >>> [race.next(), race.start(1), race.next()]
    [1, None, 0]
    """

    def __init__(self, speeds: Sequence[float]) -> None:
        self._walk = [1 / Fraction(speed) for speed in speeds]
        self._now = Fraction(0)
        self._ends: list[tuple[Fraction, int]] = []

    def start(self, rank: int) -> None:
        """A replica sets out."""
        heapq.heappush(self._ends, (self._now + self._walk[rank], rank))

    def next(self) -> int:
        """The replica that arrives next."""
        self._now, rank = heapq.heappop(self._ends)
        return rank


class Given:
    """An order that is known, such as the ledger's of a run on a cluster."""

    def __init__(self, order: Iterable[int]) -> None:
        self._order = iter(order)
        self._out: set[int] = set()

    def start(self, rank: int) -> None:
        """A replica sets out."""
        self._out.add(rank)

    def next(self) -> int:
        """The replica that arrives next.

        Raises:
            InputError: it cannot be that one, or there is none.
        """
        rank = next(self._order, None)
        if rank not in self._out:
            raise InputError(
                f"arrivals: {rank} cannot be the next, only {sorted(self._out)}; give the ranks in "
                "the order of a run of this task, one for each push"
            )
        self._out.remove(rank)
        return rank


def make_race(
    strategy: Strategy,
    num_replicas: int,
    speeds: Sequence[float] | None,
    arrivals: Iterable[int] | None,
    steps: Sequence[Sequence[int]] | None,
) -> Race | Given | BySpeed | Told:
    """Who comes next or, of a strategy in step, how far each walks; at equal speeds by default.

    Raises:
        InputError: two of them are given, or one that the strategy has no use for, or a wrong one.
    """
    name = type(strategy).__name__
    if steps is not None and not strategy.uneven:
        raise InputError(f"steps are for a strategy with uneven=True, which this {name} has not")
    if speeds is not None and (arrivals is not None or steps is not None):
        raise InputError(f"give speeds or {'steps' if arrivals is None else 'arrivals'}, not both")
    timed = speeds is not None and not strategy.uneven
    if strategy.synchronous and (arrivals is not None or timed):
        raise InputError(
            "speeds and arrivals are for asynchronous strategies, and speeds for those with "
            f"uneven=True; {name} has the same bits in any order of arrival"
        )
    if arrivals is not None:
        return Given(arrivals)
    if steps is not None:
        return Told(steps, num_replicas)
    given = [1.0] * num_replicas if speeds is None else list(speeds)
    if len(given) != num_replicas or not all(0.0 < speed < math.inf for speed in given):
        raise InputError(
            f"speeds must be {num_replicas} finite numbers > 0, one a replica, got {given}"
        )
    return BySpeed(given) if strategy.synchronous else Race(given)
