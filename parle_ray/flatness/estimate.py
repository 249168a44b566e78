"""A number that was drawn several times: its mean and how far the draws lie apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Estimate:
    """Mean and spread of draws.

    Attributes:
        mean: of the draws.
        std: their standard deviation; 0 for a single one, which has none.
        count: how many there were.
    """

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, draws: Sequence[float]) -> "Estimate":
        """The estimate from at least one draw; infinite or NaN if a draw is."""
        if not all(map(math.isfinite, draws)):
            return cls(sum(draws), math.nan, len(draws))
        return cls(fmean(draws), stdev(draws) if len(draws) > 1 else 0.0, len(draws))
