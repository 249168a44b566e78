"""The end of a run, over which some strategies average."""

from dataclasses import dataclass, replace
from typing import Self

from parle_ray.errors import InputError
from parle_ray.schedules import Plan
from parle_ray.strategies.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Tailed(Strategy):
    """A strategy of which a mean over the last rounds of the run is kept.

    Attributes:
        tail: the part of the rounds that the mean is over, one round at least. The rounds before
            are the burn-in, in which the start is forgotten.
        num_rounds: length of the run; taken from the run when it starts.
    """

    tail: float = 0.5
    num_rounds: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        tail, rounds = self.tail, self.num_rounds
        if isinstance(tail, bool) or not isinstance(tail, int | float) or not 0.0 < tail <= 1.0:
            raise InputError(f"tail must be a number > 0 and <= 1, got {tail!r}; 0.5 is half")
        if rounds is not None and (
            isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1
        ):
            raise InputError(f"num_rounds must be a whole number >= 1 or None, got {rounds!r}")

    def bind(self, plan: Plan) -> Self:
        bound = super().bind(plan)
        return replace(bound, num_rounds=self.num_rounds or plan.num_rounds)

    def rounds_of_tail(self, round: int) -> int:
        """How many rounds of the tail there have been at the end of `round`; 0 before it.

        Raises:
            InputError: nobody said how long the run is.
        """
        if self.num_rounds is None:
            raise InputError(
                f"{type(self).__name__}: its tail depends on the length of the run: give num_rounds"
            )
        burn_in = self.num_rounds - max(1, int(self.tail * self.num_rounds + 0.5))
        return max(0, round + 1 - burn_in)
