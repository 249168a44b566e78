"""Replicas that walk at speeds of their own, on a virtual clock: who arrives next."""

import heapq
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from parle_ray.errors import InputError


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
    num_replicas: int, speeds: Sequence[float] | None, arrivals: Iterable[int] | None
) -> Race | Given:
    """The order of a run; equal speeds if nothing is given.

    Raises:
        InputError: both are given, or speeds that are none.
    """
    if speeds is not None and arrivals is not None:
        raise InputError("give speeds or arrivals, not both")
    if arrivals is not None:
        return Given(arrivals)
    given = [1.0] * num_replicas if speeds is None else list(speeds)
    if len(given) != num_replicas or not all(0.0 < speed < math.inf for speed in given):
        raise InputError(
            f"speeds must be {num_replicas} finite numbers > 0, one a replica, got {given}"
        )
    return Race(given)
