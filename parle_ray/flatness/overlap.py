"""How the replicas of a run lie to its master and to each other."""

from collections.abc import Sequence
from itertools import combinations

from torch import Tensor


def distances(replicas: Sequence[Tensor], master: Tensor) -> list[float]:
    """`||x^a - x|| / ||x||` of each replica."""
    return [((x_a - master).norm() / master.norm()).item() for x_a in replicas]


def overlaps(replicas: Sequence[Tensor]) -> list[float]:
    """`<x^a, x^b> / (||x^a|| ||x^b||)`, the cosine, of every two replicas.

    Parle's paper (arXiv 1707.00424) argues with the overlap of networks that were trained apart,
    taken after their channels have been aligned. Replicas that never lost touch need no aligning,
    and theirs is taken as they are.
    """
    units = [(x_a / x_a.norm()) for x_a in replicas]
    return [a.dot(b).item() for a, b in combinations(units, 2)]
