"""Bytes that the workers of Ray Train send, by arithmetic: nobody counts them there."""

from jobs.comparison.methods import Workers

FLOAT_BYTES = 4


def bytes_sent(how: Workers, workers: int, num_params: int, step: int) -> float:
    """All workers together, from the first to the `step`-th mini-batch.

    DDP: a ring's all-reduce of the gradient, of which each worker sends 2 (n-1)/n a step. Workers
    that walk alone send their weights once, to be averaged or evaluated together.
    """
    once = FLOAT_BYTES * num_params * (workers - 1)
    return float(2 * once * step if how.together == "ddp" else once)
