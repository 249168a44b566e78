"""Asynchronous SGD that drops what is too old."""

from dataclasses import dataclass
from typing import ClassVar

from parle_ray.errors import InputError
from parle_ray.strategies.asynchronous import Asynchronous


@dataclass(frozen=True, kw_only=True)
class WeedOut(Asynchronous):
    """SpeeDO's scheme that weeds out stale updates.

    `Asynchronous`, but the master remembers who sent the last I pushes, dropped ones included,
    and drops that of a replica which is not among them; the replica goes on from the master as it
    is. The first I pushes of a run are all merged. In other words: a push is dropped before which
    I others or more have come since its replica set out.

    Attributes:
        rounds_remembered: I/n; infinite drops nothing. It is 1 at least, because of n replicas in
            step each push is n - 1 pushes old.
    """

    rounds_remembered: float = 2.0

    equation: ClassVar[str] = "w <- w + (y^a - w_s)/factor, as it comes, if a is of the last I"

    def __post_init__(self) -> None:
        super().__post_init__()
        i = self.rounds_remembered
        if isinstance(i, bool) or not isinstance(i, int | float) or not i >= 1.0:
            raise InputError(f"rounds_remembered must be a number >= 1, got {i!r}; .inf drops none")

    @property
    def most_stale_rounds(self) -> float:
        return self.rounds_remembered
