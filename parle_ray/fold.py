"""What the replicas push in a round, folded into one vector while it arrives."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from parle_ray.equations import fold_, norm_squared


@dataclass(frozen=True)
class Pushed:
    """The pushes v^a of a round, as far as a master needs to know them.

    Attributes:
        mean: `(num_params,)`, `(1/n) sum_a w_a v^a`. A merge may take its memory
            (`equations.trade_`).
        count: n, the sum of the weights w_a: how many pushes there were, where each weighs 1.
        spread: `sum_a w_a ||v^a - mean||^2`.
    """

    mean: Tensor
    count: int
    spread: float


class Fold:
    """The mean of vectors that come one after the other, in one pass over each.

    It needs two vectors of memory, whatever n: `(v^a)` may be dropped once it is in, but for the
    first, which is read again when the second comes. What is not finite leaves no trace.

    A vector of weight w is in as w equal ones are. Weights are whole numbers, so that where all
    are equal the share of the i-th vector, w/(i w), is the number that is nearest to 1/i, and the
    mean has the bits of that without weights.

    Source of mean and spread: Welford, Technometrics 4 (1962); of those of means, Chan, Golub and
    LeVeque, Stanford report CS-79-773 (1979).

    Attributes:
        count: the weight of all that are in, those of which only the mean came counted too.
    """

    def __init__(self, like: Tensor) -> None:
        self._mean, self._other = torch.empty_like(like), torch.empty_like(like)
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self._first: Tensor | None = None
        self.count, self._spread = 0, 0.0

    def add(self, vector: Tensor, count: int = 1, spread: float = 0.0) -> bool:
        """Take a vector in; False, and nothing changed, if it is not finite.

        It may be the mean of several, whose weights come to `count`, with their spread about it.
        """
        if self.count == 0:
            if not math.isfinite(norm_squared(vector)):
                return False
            self._first, self.count, self._spread = vector, count, spread
            return True
        share = count / (self.count + count)
        before = self._mean if self._first is None else self._first
        gap = fold_(self._other, before, vector, share)
        if not math.isfinite(gap):
            return False
        self._first = None
        self._mean, self._other = self._other, self._mean
        self.count += count
        self._spread += spread + (1.0 - share) * count * gap
        return True

    def close(self) -> Pushed:
        """All that came."""
        assert self.count > 0
        if self._first is not None:
            self._mean.copy_(self._first)
            self._first = None
        return Pushed(self._mean, self.count, self._spread)
