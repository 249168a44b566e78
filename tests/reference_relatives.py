"""The systems beside Parle's paper in NumPy float64, as `tests/reference.py` has its own.

Letters are those of the papers. Every algorithm returns the model and the replicas.
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import numpy as np

from tests.reference import Gradient, Inner, Momentum, Rate, Result, Vector

Loss = Callable[[int, int, Vector], float]
"""Of replica a's t-th mini-batch at y."""


def _walk(gradient: Gradient, y: Vector, chain: list, a: int, k: int, L: int) -> list[Vector]:
    """Where L steps of replica a's optimiser in round k lead, one after the other."""
    path = []
    for i in range(L):
        y = chain[a].step(y, gradient(a, k * L + i, y), k)
        path.append(y)
    return path


def slowmo(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    inner: Inner,
    *,
    L: int,
    alpha: Rate,
    beta: float,
) -> Result:
    """arXiv 1910.00643, algorithm 1; gamma is the learning rate of the base optimiser."""
    x, u = x0, np.zeros_like(x0)
    chain = [inner() for _ in range(n)]
    for k in range(K):
        gamma = chain[0].lr(k)
        mean = sum(_walk(gradient, x, chain, a, k, L)[-1] for a in range(n)) / n
        u = beta * u + (x - mean) / gamma
        x = x - alpha(k) * gamma * u
    return x, [x] * n


def papa(
    gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int, alpha: float
) -> Result:
    """arXiv 2304.03094, the gradual form; the pull is scaled by the learning rate."""
    w = [x0 for _ in range(n)]
    chain = [inner() for _ in range(n)]
    for k in range(K):
        w = [_walk(gradient, w[a], chain, a, k, L)[-1] for a in range(n)]
        mean = sum(w) / n
        c = 1 - (1 - alpha) * chain[0].lr(k) / chain[0].lr(0)
        w = [c * w_a + (1 - c) * mean for w_a in w]
    return mean, w


def streaming_diloco(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    inner: Inner,
    *,
    L: int,
    F: int,
    eta: Rate,
    mu: float,
    alpha: float,
) -> Result:
    """arXiv 2501.18512, algorithm 2, with H = F L and tau = L, and fragments of equal length.

    Of a fragment the workers remember the global value that they received last. One fragment alone
    would be received as it is sent; what is received first is then the value that all began with.
    """
    marks = [p * len(x0) // F for p in range(F + 1)]
    fragments = [slice(*pair) for pair in pairwise(marks)]
    x, remembered = x0.copy(), x0.copy()
    y = [x0.copy() for _ in range(n)]
    chain = [inner() for _ in range(n)]
    outer = [Momentum(eta, mu, nesterov=True) for _ in range(F)]
    coming = (fragments[0], x0) if F == 1 else None
    for k in range(K):
        y = [_walk(gradient, y[a], chain, a, k, L)[-1] for a in range(n)]
        p = fragments[k % F]
        delta = sum(remembered[p] - y[a][p] for a in range(n)) / n
        if coming is not None:
            q, value = coming
            remembered[q] = value
            for a in range(n):
                y[a][q] = alpha * y[a][q] + (1 - alpha) * value
        x[p] = outer[k % F].step(x[p], delta, k)
        coming = p, x[p].copy()
    return x, y


def eamsgd(
    gradient: Gradient,
    x0: Vector,
    n: int,
    K: int,
    *,
    L: int,
    eta: float,
    delta: float,
    alpha: float,
) -> Result:
    """arXiv 1412.6651, algorithm 2 in step, in its own variables: places x and velocities v.

    The springs are at `x + delta v`, where gradients are taken.
    """
    centre = x0
    x, v = [x0] * n, [np.zeros_like(x0)] * n
    for k in range(K):
        e = [alpha * (x[a] + delta * v[a] - centre) for a in range(n)]
        for a in range(n):
            for i in range(L):
                v[a] = delta * v[a] - eta * gradient(a, k * L + i, x[a] + delta * v[a])
                x[a] = x[a] + v[a]
            x[a] = x[a] - e[a]
        centre = centre + sum(e)
    return centre, [x[a] + delta * v[a] for a in range(n)]


def tail_averaging(
    gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int, s: int
) -> Result:
    """arXiv 1610.03774, algorithm 1; the n L gradients of a round are its mini-batch."""
    x, optimiser, path = x0, inner(), []
    for k in range(K):
        every = [gradient(a, k * L + i, x) for a in range(n) for i in range(L)]
        x = optimiser.step(x, sum(every) / (n * L), k)
        path.append(x)
    return sum(path[s:]) / (K - s), [x] * n


def parameter_mixing(
    gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int, s: int
) -> Result:
    """arXiv 1610.03774, section 3: n tail means of n runs that never meet, averaged."""
    chain = [inner() for _ in range(n)]
    means, ends = [], []
    for a in range(n):
        path, y = [], x0
        for k in range(K):
            path += _walk(gradient, y, chain, a, k, L)
            y = path[-1]
        means.append(sum(path[s * L :]) / ((K - s) * L))
        ends.append(y)
    return sum(means) / n, ends


def splash(
    gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int, m: float
) -> Result:
    """arXiv 1506.07552: each sample has weight m; what replicas add is averaged."""
    v = x0
    chain = [inner() for _ in range(n)]
    for k in range(K):
        deltas = []
        for a in range(n):
            weighted = _walk(lambda a, t, y: m * gradient(a, t, y), v, chain, a, k, L)
            deltas.append(weighted[-1] - v)
        v = v + sum(deltas) / n
    return v, [v] * n


def trials(x: Vector, n: int):
    """The search of `auto_splash` as a procedure: yields rounds, each is sent (mean, losses).

    A round is (where it starts, m, whether optimisers are new, whether it judges, the model).
    """

    def two_rounds(m, model):
        c, _ = yield x, m, True, False, model
        return (yield c, m, False, True, model)

    m, up, pause = 1.0, True, 6
    while True:
        d, f = yield from two_rounds(m, x)
        both = {m / 4 if m / 8 >= 1 else 1.0, 4 * m if 8 * m <= n else n} - {m}
        for rival in sorted(both, reverse=up):
            d_r, f_r = yield from two_rounds(rival, d)
            if np.mean(f - f_r) > np.std(f - f_r) / np.sqrt(n):
                m, x, up, pause = rival, d_r, rival > m, 6
                break
        else:
            for i in range(pause):
                d, _ = yield d, m, i == 0, False, d
            x, up, pause = d, False, 2 * pause


def auto_splash(
    gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int, judged: int, loss: Loss
) -> tuple[Vector, list[float]]:
    """Splash with an m that is found by trial; the model, and the m of each round."""
    search, degrees, chain = trials(x0, n), [], []
    start, m, anew, judges, model = next(search)
    for k in range(K):
        chain = [inner() for _ in range(n)] if anew else chain
        skip = judged if judges else 0
        losses = [[loss(a, k * L + i, start) for i in range(skip)] for a in range(n)]
        ends = []
        for a in range(n):
            y = start
            for i in range(skip, L):
                y = chain[a].step(y, m * gradient(a, k * L + i, y), k)
            ends.append(y)
        degrees.append(m)
        told = np.mean(losses, axis=1) if skip else None
        start, m, anew, judges, model = search.send((sum(ends) / n, told))
    return model, degrees


def rotation(gradient: Gradient, x0: Vector, n: int, K: int, inner: Inner, *, L: int) -> Result:
    """Harp's model rotation: the new model is the blocks of their owners, end to end."""
    x = x0
    marks = [b * len(x0) // n for b in range(n + 1)]
    chain = [inner() for _ in range(n)]
    for k in range(K):
        order = Random(k // n).sample(range(n), n)
        new = x.copy()
        for a in range(n):
            b = order[(a + k) % n]
            own = np.zeros(len(x0), dtype=bool)
            own[marks[b] : marks[b + 1]] = True
            y = x
            for i in range(L):
                g = np.where(own, gradient(a, k * L + i, y), 0.0)
                y = np.where(own, chain[a].step(y, g, k), x)
            new[own] = y[own]
        x = new
    return x, [x] * n
