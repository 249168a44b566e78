"""The papers in NumPy float64: slow and obvious, written from the equations, not from our code.

Letters are the papers': y^a walks, z^a averages, x^a is the replica, x the master. A problem is a
function `gradient(a, t, y)`, the gradient of replica a's t-th mini-batch at y, all `(N,)`. Rates
and schedules are functions of the round k. Every algorithm returns the master and the replicas.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Gradient = Callable[[int, int, Vector], Vector]
Rate = Callable[[int], float]
Result = tuple[Vector, list[Vector]]


def constant(value: float) -> Rate:
    return lambda k: value


def scoping(initial: float, floor: float, B: int) -> Rate:
    """arXiv 1707.00424, section 2.4."""
    return lambda k: max(floor, initial * (1 - 1 / (2 * B)) ** k)


def geometric(first: float, last: float, K: int) -> Rate:
    return lambda k: first * (last / first) ** (k / (K - 1))


def cosine(first: float, last: float, K: int) -> Rate:
    return lambda k: last + (first - last) * (1 + cos(pi * k / K)) / 2


@dataclass
class Momentum:
    """SGD as torch.optim.SGD documents it; `m` is its buffer, None before the first step."""

    lr: Rate
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    m: Vector | None = field(default=None, init=False)

    def step(self, x: Vector, g: Vector, k: int) -> Vector:
        d = g + self.weight_decay * x
        if self.momentum != 0:
            self.m = d if self.m is None else self.momentum * self.m + d
            d = d + self.momentum * self.m if self.nesterov else self.m
        return x - self.lr(k) * d


Inner = Callable[[], Momentum]


def parle(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    inner: Inner,
    *,
    L: int,
    gamma: Rate,
    rho: Rate,
    alpha: float,
    eta: Rate,
    mu: float,
    reference: str,
) -> Result:
    """arXiv 1707.00424, (8a) to (8d), with Nesterov's momentum in (8c) as the authors run it."""
    x = x0
    xa = [x0 for _ in range(n)]
    chain = [inner() for _ in range(n)]
    outer = [Momentum(eta, mu, nesterov=True) for _ in range(n)]
    for k in range(K):
        za = []
        for a in range(n):
            y = z = xa[a]
            for i in range(L):
                g = gradient(a, k * L + i, y) + (y - xa[a]) / gamma(k)
                y = chain[a].step(y, g, k)  # (8a)
                z = alpha * z + (1 - alpha) * y  # (8b)
            za.append(z)
        r = x if reference == "master" else sum(za) / n
        for a in range(n):
            d = (xa[a] - za[a]) + (xa[a] - r) / rho(k)
            xa[a] = outer[a].step(xa[a], d, k)  # (8c)
        x = sum(xa) / n  # (8d)
    return x, xa


def entropy_sgd(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    inner: Inner,
    *,
    L: int,
    gamma: Rate,
    alpha: float,
    eta: Rate,
    mu: float,
) -> Result:
    """arXiv 1611.01838, algorithm 1, with n chains for the one expectation."""
    x = x0
    chain = [inner() for _ in range(n)]
    outer = Momentum(eta, mu, nesterov=True)
    for k in range(K):
        za = []
        for a in range(n):
            y = z = x
            for i in range(L):
                g = gradient(a, k * L + i, y) + (y - x) / gamma(k)
                y = chain[a].step(y, g, k)
                z = alpha * z + (1 - alpha) * y
            za.append(z)
        x = outer.step(x, x - sum(za) / n, k)
    return x, [x] * n


def elastic_sgd(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    inner: Inner,
    *,
    L: int,
    rho: Rate | None = None,
    moving_rate: float | None = None,
) -> Result:
    """Parle's paper, section 2.3 (rho), or arXiv 1412.6651, (5) and (6) (moving_rate)."""
    x = x0
    xa = [x0 for _ in range(n)]
    chain = [inner() for _ in range(n)]
    for k in range(K):
        e = []
        for a in range(n):
            r = chain[a].lr(k) / rho(k) if moving_rate is None else moving_rate
            e.append(r * (xa[a] - x))
            y = xa[a]
            for i in range(L):
                y = chain[a].step(y, gradient(a, k * L + i, y), k)
            xa[a] = y - e[a]
        x = sum(xa) / n if moving_rate is None else x + sum(e)
    return x, xa


def sgd(gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int) -> Result:
    """One optimiser on the mean gradient of n replicas and L mini-batches."""
    x, optimiser = x0, inner()
    for k in range(K):
        every = [gradient(a, k * L + i, x) for a in range(n) for i in range(L)]
        x = optimiser.step(x, sum(every) / (n * L), k)
    return x, [x] * n


def diloco(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    inner: Inner,
    *,
    L: int,
    eta: Rate,
    mu: float,
) -> Result:
    """arXiv 2311.08105, algorithm 1, with SGD inside and Nesterov's SGD outside."""
    x = x0
    chain = [inner() for _ in range(n)]
    outer = Momentum(eta, mu, nesterov=True)
    for k in range(K):
        ya = []
        for a in range(n):
            y = x
            for i in range(L):
                y = chain[a].step(y, gradient(a, k * L + i, y), k)
            ya.append(y)
        x = outer.step(x, x - sum(ya) / n, k)
    return x, [x] * n


def local_sgd(gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int) -> Result:
    """arXiv 1805.09767, algorithm 1."""
    x = x0
    chain = [inner() for _ in range(n)]
    for k in range(K):
        ya = []
        for a in range(n):
            y = x
            for i in range(L):
                y = chain[a].step(y, gradient(a, k * L + i, y), k)
            ya.append(y)
        x = sum(ya) / n
    return x, [x] * n
