"""The door to `fold_group`: folds what the replicas of a node pushed, where it lies."""

from typing import Any

import numpy as np
import torch

from parle_ray.cluster.wire import pack, view
from parle_ray.fold import Fold, Numbers, Term
from parle_ray.tree import fold_group

Folded = tuple[tuple[int, float, Numbers, list[int], list[int]], np.ndarray | None]
"""Count, spread and numbers, the ranks merged and those refused; the mean of the former, if there
are any."""


class BranchActor:
    """Folds one group's pushes a round; it remembers nothing of them from call to call.

    Args:
        index: of the group.
        dtype: of a push.
        num_threads: as at the coordinator, which folds for a branch that is lost.
    """

    def __init__(self, index: int, dtype: torch.dtype, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        self._index, self._dtype = index, dtype
        self._fold = Fold(torch.empty(0, dtype=dtype))

    def __repr__(self) -> str:
        return f"branch {self._index}"

    def fold(self, num_params: int, terms: dict[int, Term], *pushes: np.ndarray) -> Folded:
        """The pushes of the ranks that have these terms, read where they lie in the store.

        Args:
            num_params: how many the round moves.
            terms: by rank, in the order of the pushes.
        """
        vectors = {r: view(push, self._dtype) for r, push in zip(terms, pushes, strict=True)}
        group = fold_group(self._fold, num_params, vectors, terms)
        told: Any = (group.merged, group.refused)
        if group.pushed is None:
            return (0, 0.0, (), *told), None
        pushed = group.pushed
        return (pushed.count, pushed.spread, pushed.numbers, *told), pack(pushed.mean)
