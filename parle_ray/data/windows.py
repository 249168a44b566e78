"""Which examples of a set a replica sees: the paper's split mode."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from parle_ray.errors import InputError

WINDOW_SEED = 20170703
"""One permutation for every run and replica: the windows of a run must be cut from the same one."""


def window(num: int, rank: int, num_replicas: int, fraction: float) -> NDArray[np.int64]:
    """Rows, of `num`, that replica `rank` sees: the cyclic window [rank/n, rank/n + fraction).

    The window is cut from one fixed permutation of the set, the paper's split mode: n = 3
    with fraction 0.5 shows each example to one or two replicas, 1.5 on average. Windows of
    fraction 1/n are disjoint and cover the set; fraction 1 is all rows, in order.

    Raises:
        InputError: rank, num_replicas or fraction is out of range.
    """
    if num_replicas < 1 or not 0 <= rank < num_replicas:
        raise InputError(
            f"rank must be 0..num_replicas-1, got rank {rank} of num_replicas {num_replicas}."
        )
    if not 0 < fraction <= 1:
        raise InputError(f"fraction must be > 0 and <= 1, got {fraction}.")
    if fraction == 1:
        return np.arange(num)
    # In exact fractions: 1/3 as a float would let neighbouring windows overlap or gap by one.
    begin = Fraction(rank, num_replicas)
    end = begin + Fraction(fraction).limit_denominator(1_000_000)
    places = np.arange(int(begin * num), int(end * num))
    order = np.random.default_rng(WINDOW_SEED).permutation(num)
    return order[places % max(num, 1)]


def check_held_out(name: str, num_held_out: int, num: int, what: str) -> None:
    """Refuse a split that would leave nothing on one side.

    Raises:
        InputError: says how many there are.
    """
    if not 0 < num_held_out < num:
        raise InputError(
            f"num_held_out must be 1..{num - 1} of {name}'s {num} {what}, got {num_held_out}."
        )
