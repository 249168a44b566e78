"""SpeeDO's asynchronous schemes in NumPy float64, one arrival after the other: slow and obvious."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

Gradient = Callable[[int, int, np.ndarray], np.ndarray]


def speedo(
    order: Sequence[int],
    *,
    start: np.ndarray,
    gradient: Gradient,
    n: int,
    L: int,
    lr: float,
    factor: float = 1.0,
    max_advance: float = math.inf,
    last: float = math.inf,
    moving_rate: float | None = None,
) -> tuple[np.ndarray, int]:
    """w after these arrivals, and how many were dropped; `last` is I, the length of the FIFO."""
    w, dropped = start.copy(), 0
    y = [start.copy() for _ in range(n)]
    base = [start.copy() for _ in range(n)]
    steps, walked, held = [0] * n, [0] * n, set()
    finishers: deque[int] = deque(maxlen=None if math.isinf(last) else int(last))
    for arrived, i in enumerate(order):
        for _ in range(L):
            y[i] = y[i] - lr * gradient(i, steps[i], y[i])
            steps[i] += 1
        walked[i] += 1
        if moving_rate is not None:
            e = moving_rate * (y[i] - w)
            y[i], w = y[i] - e, w + e
        elif arrived < last or i in finishers:
            w = w + (y[i] - base[i]) / factor
        else:
            dropped += 1
        finishers.append(i)
        held.add(i)
        for j in sorted(held):
            if walked[j] - min(walked) <= max_advance:
                held.remove(j)
                if moving_rate is None:
                    y[j], base[j] = w.copy(), w.copy()
    return w, dropped
