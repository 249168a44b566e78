"""Asynchronous SGD in which nobody runs far ahead."""

from dataclasses import dataclass
from typing import ClassVar

from parle_ray.errors import InputError
from parle_ray.strategies.asynchronous import Asynchronous


@dataclass(frozen=True, kw_only=True)
class BoundedAdvance(Asynchronous):
    """SpeeDO's partially synchronous scheme.

    `Asynchronous`, but a replica sets out on its own round c only when the slowest replica is in
    its round c - max_advance or later, and from the master as it is then. One that is lost holds
    nobody, and one that comes for it counts from the slowest of the others.

    SpeeDO begins to hold replicas at a lead of `maxAdvance` and holds all of them until every one
    has reported; here, as in the stale synchronous parallel model (Ho et al., NIPS 2013), only
    those are held that are too far ahead. Its `maxAdvance` is `max_advance + 1` here.

    Attributes:
        max_advance: own rounds; 0 makes everybody wait for everybody, and all steps of a round
            are taken from one master.
    """

    max_advance: int = 2

    equation: ClassVar[str] = (
        "w <- w + (y^a - w_s)/factor, as it comes;  c^a <= min c + max_advance"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        m = self.max_advance
        if isinstance(m, bool) or not isinstance(m, int) or m < 0:
            raise InputError(f"max_advance must be a whole number >= 0, got {m!r}")

    @property
    def most_ahead(self) -> float:
        return self.max_advance
