"""The vector updates that more than one strategy uses; one function, one equation.

All vectors are `(num_params,)`, of one dtype on one device. A trailing underscore: the first
argument is changed in place. Nothing here allocates a vector unless it returns one.
"""

import math
from collections.abc import Mapping

from torch import Tensor


def add_proximal_(gradient: Tensor, y: Tensor, x: Tensor, gamma: float) -> None:
    """`g <- g + (1/gamma)(y - x)`: the pull of a chain towards its anchor (paper, 8a)."""
    if math.isinf(gamma):
        return
    gradient.add_(y, alpha=1.0 / gamma).sub_(x, alpha=1.0 / gamma)


def average_(z: Tensor, y: Tensor, alpha: float) -> None:
    """`z <- alpha z + (1 - alpha) y`: the running mean of a chain (paper, 8b)."""
    z.lerp_(y, 1.0 - alpha)


def nesterov_(x: Tensor, d: Tensor, buffer: Tensor, lr: float, momentum: float) -> None:
    """`m <- mu m + d;  x <- x - lr (d + mu m)`: Nesterov's momentum as torch.optim.SGD has it."""
    if momentum == 0.0:
        x.sub_(d, alpha=lr)
        return
    buffer.mul_(momentum).add_(d)
    x.sub_(d, alpha=lr).sub_(buffer, alpha=lr * momentum)


def mean(vectors: Mapping[int, Tensor]) -> Tensor:
    """`(1/n) sum_a v^a`, folded in the order of the ranks: the same bits in any arrival order.

    The fold `m <- m + (v - m)/i` needs one vector of memory, whatever n, and gives back equal
    vectors exactly, which a sum divided by n does not.
    """
    ranks = sorted(vectors)
    result = vectors[ranks[0]].clone()
    for i, rank in enumerate(ranks[1:], start=2):
        result.lerp_(vectors[rank], 1.0 / i)
    return result
