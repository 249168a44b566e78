"""How many mini-batches each replica walks in a round, so that the slow hold nobody up."""

from collections import deque
from statistics import median_low

REMEMBERED = 5
"""Walks by which a replica's speed is judged: a new speed counts from the third on."""


class LocalUpdates:
    """Dynamic local updates, DyLU, from the times of walks, of which it is told.

        L_a = floor(L t/t_a), at least 1      t_a: seconds that replica a takes for a mini-batch
                                              t:   those of the fastest

    The low median of the last walks is t_a, so that neither a pause nor a first walk, in which
    models are compiled, is taken for the speed. A replica that has not walked yet walks L.

    What a round costs beside its mini-batches is in the time of a walk, and so in t_a: L_a settles
    where the walk of a takes as long as that of the fastest.
    Source: Liu et al., arXiv 2401.09135.
    """

    def __init__(self) -> None:
        self._walks: dict[int, deque[float]] = {}  # rank -> seconds a mini-batch, of each walk
        self._pace_s: dict[int, float] = {}

    def told(self, rank: int, walk_s: float, steps: int) -> None:
        """A replica has walked so many mini-batches in so many seconds."""
        walks = self._walks.setdefault(rank, deque(maxlen=REMEMBERED))
        walks.append(walk_s / steps)
        self._pace_s[rank] = median_low(walks)

    def forget(self, rank: int) -> None:
        """A replica is gone."""
        self._walks.pop(rank, None)
        self._pace_s.pop(rank, None)

    def steps(self, rank: int, longest: int) -> int:
        """The mini-batches of a replica in a round in which the fastest walks `longest`."""
        if rank not in self._pace_s:
            return longest
        share = min(self._pace_s.values()) / self._pace_s[rank]
        return max(1, int(longest * share))
