"""A vector cut into stretches, one for each shard of the master.

Every strategy works coordinate by coordinate, so a vector may be cut anywhere. It is cut between
the blocks in which vectors are coded, so that the code of the whole is the codes of its stretches
end to end, and between parameters where an optimiser steps the master: then no bit depends on the
number of shards.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from torch import Tensor

from parle_ray.compression import CODECS
from parle_ray.compression.codecs import CHUNK, ChunkedCodec
from parle_ray.equations import norm_squared
from parle_ray.errors import InputError
from parle_ray.moving import inside, length
from parle_ray.strategies import Strategy

GRAIN = 1024
"""Values that are not cut apart where there are many: a core's vector unit rounds as it did."""


def check_shards(shards: object, strategy: Strategy, compression: str) -> None:
    """Refuse at once what no model could make work.

    Raises:
        InputError: names `shards`, and what to change.
    """
    if isinstance(shards, bool) or not isinstance(shards, int) or shards < 1:
        raise InputError(f"shards must be a whole number >= 1, got {shards!r}")
    if shards > 1 and not strategy.synchronous:
        raise InputError(
            f"shards: {shards} with {type(strategy).__name__}, whose master is kept whole; "
            "use shards=1"
        )
    if shards > 1 and not strategy.moves_all:
        raise InputError(
            f"shards: {shards} with {type(strategy).__name__}, whose rounds move a stretch of the "
            "vector, so that one shard would have all the work; use shards=1"
        )
    if shards > 1 and compression != "none" and _pushes_stretches(strategy):
        raise InputError(
            f"shards: {shards} with compression={compression!r} does not go with "
            f"{type(strategy).__name__}, which pushes stretches, whose codes are not cut where the "
            "master is; use shards=1 or compression='none'"
        )
    if shards > 1 and strategy.steps_master and compression != "none":
        raise InputError(
            f"shards: {shards} with compression={compression!r} does not go with "
            f"{type(strategy).__name__}, whose optimiser at the master needs whole parameters; "
            "use shards=1 or compression='none'"
        )


def stretches(
    sizes: Sequence[int], shards: int, *, whole_parameters: bool, codec: str
) -> list[slice]:
    """As many stretches as shards, in order, none empty and as equal as may be.

    Args:
        sizes: of the parameters, in the order of the vector.
        whole_parameters: no parameter is cut, for an optimiser that may look at its shape.
        codec: its code is cut as well, which goes by `CHUNK` values.

    Raises:
        InputError: there are more shards than the vector can be cut into.

    >>> stretches([4, 3, 5], 2, whole_parameters=False, codec="none")
    [slice(0, 6, None), slice(6, 12, None)]
    >>> stretches([4, 3, 5], 2, whole_parameters=True, codec="none")
    [slice(0, 7, None), slice(7, 12, None)]
    """
    total = sum(sizes)
    marks: Sequence[int]
    if whole_parameters:
        marks, why = sorted({*accumulate(sizes)} - {0, total}), "whole parameter tensors"
    elif codec != "none":
        marks, why = range(CHUNK, total, CHUNK), f"{CHUNK:,} values, the unit of {codec}"
    else:
        unit = GRAIN if total >= 4 * shards * GRAIN else 1
        marks, why = range(unit, total, unit), "single parameters"
    if shards > len(marks) + 1:
        raise InputError(
            f"shards must be <= {len(marks) + 1} for these {total:,} parameters, which are cut "
            f"into {why}; got {shards}"
        )
    edges, lowest = [0], 0
    for i in range(1, shards):
        ideal = i * total / shards
        at = bisect_left(marks, ideal)
        if at == len(marks) or (at > 0 and ideal - marks[at - 1] <= marks[at] - ideal):
            at -= 1
        at = min(max(at, lowest), len(marks) - (shards - i))
        edges.append(marks[at])
        lowest = at + 1
    return [slice(start, stop) for start, stop in pairwise([*edges, total])]


def starts(parts: Sequence[slice], codec: str, sent: slice) -> list[int]:
    """Where the stretches of the vector begin in what is sent of it, or in the code of that."""
    kind = CODECS[codec]()
    marks = [inside(sent, slice(0, part.start)) for part in parts]
    if not isinstance(kind, ChunkedCodec):
        return [length(mark) for mark in marks]
    return [kind.length(length(mark)) for mark in marks]


def is_finite(push: Tensor | np.ndarray, codec: str, num_params: int) -> bool:
    """Whether all shards can use a push: what one of them would refuse, none must merge."""
    vector = CODECS[codec]().decode(push, num_params) if isinstance(push, np.ndarray) else push
    return math.isfinite(norm_squared(vector))


def _pushes_stretches(strategy: Strategy) -> bool:
    total = 2**30
    return length(strategy.sends(0, total, 0, 2)) < total
