"""What the replicas push in a round, folded into one vector while it arrives."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from parle_ray.equations import fold_, norm_squared

Numbers = tuple[float, ...]
"""What travels with a vector: as many, in the same order, as the strategy says."""


@dataclass(frozen=True)
class Pushed:
    """The pushes v^a of a round, as far as a master needs to know them.

    Attributes:
        mean: `(num_params,)`, `(1/n) sum_a w_a v^a`. A merge may take its memory
            (`equations.trade_`).
        count: n, the sum of the weights w_a: how many pushes there were, where each weighs 1.
        spread: `sum_a w_a ||v^a - mean||^2`.
        numbers: the means of those that came with the v^a, as weighted.
    """

    mean: Tensor
    count: int
    spread: float
    numbers: Numbers = ()


@dataclass(frozen=True)
class Term:
    """How a push is in the mean of all.

    Attributes:
        weight: w_a, how much it counts.
        place: the stretch that it is of a vector which is zero elsewhere.
        numbers: that came with it.
    """

    weight: int
    place: slice
    numbers: Numbers = ()


class Fold:
    """The mean of vectors that come one after the other, in one pass over each.

    It needs two vectors of memory, whatever n, and two more where some are but stretches: `(v^a)`
    may be dropped once it is in, but for the first, which is read again when the second comes.
    What is not finite leaves no trace.

    A vector of weight w is in as w equal ones are. Weights are whole numbers, so that where all
    are equal the share of the i-th vector, w/(i w), is the number that is nearest to 1/i, and the
    mean has the bits of that without weights.

    Source of mean and spread: Welford, Technometrics 4 (1962); of those of means, Chan, Golub and
    LeVeque, Stanford report CS-79-773 (1979).

    Attributes:
        num_params: how long they are.
        count: the weight of all that are in, those of which only the mean came counted too.
    """

    def __init__(self, like: Tensor) -> None:
        self.num_params, self._like = -1, like[:0]
        self.begin(len(like))

    def begin(self, num_params: int) -> None:
        """Begin again, with vectors of this length."""
        if num_params != self.num_params:
            self.num_params = num_params
            self._mean, self._other = (self._like.new_empty(num_params) for _ in range(2))
            self._wholes: list[Tensor] = []
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self._first: Tensor | None = None
        self.count, self._spread = 0, 0.0
        self._numbers: Numbers = ()

    def add(
        self,
        vector: Tensor,
        count: int = 1,
        spread: float = 0.0,
        *,
        numbers: Numbers = (),
        place: slice | None = None,
    ) -> bool:
        """Take a vector in; False, and nothing changed, if it is not finite.

        It may be the mean of several, whose weights come to `count`, with their spread about it.

        Args:
            numbers: that came with it, or their means; they need not be finite.
            place: `vector` is this stretch of one that is zero elsewhere.
        """
        if place is not None and len(vector) < self.num_params:
            vector = self._whole(vector, place)
        if self.count == 0:
            if not math.isfinite(norm_squared(vector)):
                return False
            self._first, self.count, self._spread = vector, count, spread
            self._numbers = numbers
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
        self._numbers = _fold_numbers(self._numbers, numbers, share)
        return True

    def close(self) -> Pushed:
        """All that came."""
        assert self.count > 0
        if self._first is not None:
            self._mean.copy_(self._first)
            self._first = None
        return Pushed(self._mean, self.count, self._spread, self._numbers)

    def _whole(self, stretch: Tensor, place: slice) -> Tensor:
        """The vector of which this is a stretch; it stays until the next but one."""
        if not self._wholes:
            self._wholes = [torch.empty_like(self._mean) for _ in range(2)]
        self._wholes.reverse()
        return placed(stretch, place, self._wholes[0])


def placed(stretch: Tensor, place: slice, out: Tensor) -> Tensor:
    """`out`, which becomes zero but for this stretch of it."""
    out[: place.start].zero_()
    out[place].copy_(stretch)
    out[place.stop :].zero_()
    return out


def _fold_numbers(mean: Numbers, numbers: Numbers, share: float) -> Numbers:
    pairs = zip(mean, numbers, strict=True)
    return tuple(m + share * (number - m) for m, number in pairs)
