"""The vector updates that more than one strategy uses; one function, one equation.

All vectors are `(num_params,)`, of one dtype on one device. A trailing underscore: the first
argument is changed in place. Nothing here allocates a vector.

What touches a vector more than once goes through it in blocks that stay in a core's cache, so it
costs the memory traffic of once; block by block or in one go, the bits are the same.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1 << 16
"""Elements of a block: five vectors' blocks of float32 fit in a second-level cache of 2 MB."""


def blocks(*vectors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same stretch of each vector, one stretch after the other; one stretch off the CPU."""
    if vectors[0].numel() <= BLOCK or vectors[0].device.type != "cpu":
        yield vectors
        return
    yield from zip(*(torch.split(vector, BLOCK) for vector in vectors), strict=True)


def add_proximal_(gradient: Tensor, y: Tensor, x: Tensor, gamma: float) -> None:
    """`g <- g + (1/gamma)(y - x)`: the pull of a chain towards its anchor (paper, 8a)."""
    if math.isinf(gamma):
        return
    for g, y_, x_ in blocks(gradient, y, x):
        g.add_(y_, alpha=1.0 / gamma).sub_(x_, alpha=1.0 / gamma)


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


def fold_(result: Tensor, mean: Tensor, v: Tensor, share: float) -> float:
    """`m' <- m + share (v - m)`: a mean takes in a vector that makes up `share` of it.

    That is 1/i for the i-th vector of a running mean, and n_b/(n_a + n_b) for the mean of n_b
    others. Equal vectors come back exactly, which a sum divided by n does not give.

    Returns:
        `||v - m||^2`; not finite if v is not.
    """
    total = 0.0
    for r, m, v_ in blocks(result, mean, v):
        gap = _wide(v_).sub(m)
        total += float(gap.dot(gap))
        torch.add(m, gap, alpha=share, out=r)
    return total


def norm_squared(v: Tensor, x: Tensor | None = None) -> float:
    """`||v - x||^2`, or `||v||^2`."""
    total = 0.0
    for v_, x_ in blocks(v, v if x is None else x):
        gap = _wide(v_) if x is None else _wide(v_).sub(x_)
        total += float(gap.dot(gap))
    return total


def piece(i: int, n: int, length: int) -> slice:
    """The i-th of n stretches of a vector, as equal as may be."""
    return slice(i * length // n, (i + 1) * length // n)


def trade_(x: Tensor, v: Tensor) -> None:
    """`x <- v`, by trading memory, if both have their own: v is left with what x was."""
    if x._is_view() or v._is_view():
        x.copy_(v)
        return
    x.data, v.data = v.data, x.data


def _wide(v: Tensor) -> Tensor:
    """At least float32: a half-precision sum of finite squares overflows."""
    return v.to(torch.promote_types(v.dtype, torch.float32))
