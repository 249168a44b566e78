"""Averaging in which replicas walk unequal numbers of mini-batches of unequal size, in NumPy.

As `tests/reference.py`, with `steps[k][a]` mini-batches of replica a in round k, of `sizes[a]`
examples each. `weighs` says what counts alike in a mean: replicas, or examples.
"""

from collections.abc import Sequence

import numpy as np

from tests.reference import Gradient, Inner, Momentum, Rate, Result, Vector

Steps = Sequence[Sequence[int]]


def _mean(vectors: Sequence[Vector], steps: Sequence[int], sizes: Sequence[int]) -> Vector:
    """arXiv 1602.05629, algorithm 1: by n_a/n, n_a the examples that replica a has walked over."""
    return np.average(vectors, axis=0, weights=[s * b for s, b in zip(steps, sizes, strict=True)])


def sgd(gradient: Gradient, x0: Vector, inner: Inner, *, steps: Steps, sizes: list[int]) -> Result:
    """One optimiser on the mean gradient of all examples of a round."""
    x, optimiser, n = x0, inner(), len(sizes)
    for k, L in enumerate(steps):
        each = [
            sum(gradient(a, _before(steps, k, a) + i, x) for i in range(L[a])) / L[a]
            for a in range(n)
        ]
        x = optimiser.step(x, _mean(each, L, sizes), k)
    return x, [x] * n


def diloco(
    gradient: Gradient,
    x0: Vector,
    inner: Inner,
    *,
    steps: Steps,
    sizes: list[int],
    eta: Rate,
    mu: float,
) -> Result:
    """arXiv 2311.08105, algorithm 1; with eta = 1 and mu = 0 federated averaging, 1602.05629."""
    x, n = x0, len(sizes)
    chain = [inner() for _ in range(n)]
    outer = Momentum(eta, mu, nesterov=True)
    for k, L in enumerate(steps):
        ya = []
        for a in range(n):
            y = x
            for i in range(L[a]):
                y = chain[a].step(y, gradient(a, _before(steps, k, a) + i, y), k)
            ya.append(y)
        x = outer.step(x, x - _mean(ya, L, sizes), k)
    return x, [x] * n


def parle(
    gradient: Gradient,
    x0: Vector,
    inner: Inner,
    *,
    steps: Steps,
    sizes: list[int],
    gamma: float,
    rho: float,
    alpha: float,
    eta: Rate,
    mu: float,
) -> Result:
    """arXiv 1707.00424, (8a) to (8d): the minimum over x of `sum_a n_a (1/2 rho) ||x^a - x||^2`."""
    x, n = x0, len(sizes)
    xa = [x0 for _ in range(n)]
    chain = [inner() for _ in range(n)]
    outer = [Momentum(eta, mu, nesterov=True) for _ in range(n)]
    for k, L in enumerate(steps):
        moved = []
        for a in range(n):
            y = z = xa[a]
            for i in range(L[a]):
                g = gradient(a, _before(steps, k, a) + i, y) + (y - xa[a]) / gamma
                y = chain[a].step(y, g, k)  # (8a)
                z = alpha * z + (1 - alpha) * y  # (8b)
            moved.append(outer[a].step(xa[a], (xa[a] - z) + (xa[a] - x) / rho, k))  # (8c)
        xa, x = moved, _mean(moved, L, sizes)  # (8d)
    return x, xa


def _before(steps: Steps, k: int, a: int) -> int:
    """The mini-batches that replica a has walked before round k."""
    return sum(round[a] for round in steps[:k])
