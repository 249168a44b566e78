"""Which fault strikes whom, and in which round: a list that is the same for the same seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from parle_ray.chaos.kinds import KINDS
from parle_ray.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a run.

    Attributes:
        kind: a name of `KINDS`.
        round: it strikes when so many rounds are closed, or soon after.
        rank: of the replica that it strikes; None: it strikes another actor.
        seconds: how long a process stands still that is stopped.
    """

    kind: str
    round: int
    rank: int | None = None
    seconds: float = 3.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"faults: there is no {self.kind!r}.{nearest(self.kind, KINDS)} "
                f"There are {', '.join(KINDS)}"
            )
        if self.round < 1:
            raise InputError(
                f"round must be >= 1, a fault strikes a run under way; got {self.round}"
            )
        if KINDS[self.kind].role == "replica" and (self.rank is None or self.rank < 0):
            raise InputError(f"rank must say which replica {self.kind!r} strikes, got {self.rank}")

    @property
    def role(self) -> str:
        """Of the actor that it strikes, as in its name `<run>/<role>`."""
        role = KINDS[self.kind].role
        return f"{role}-{self.rank}" if role == "replica" else role


def storm(
    kinds: Sequence[str], num_faults: int, *, num_replicas: int, num_rounds: int, seed: int
) -> list[Fault]:
    """Faults of all these kinds, equally often, on ranks at random, evenly over the rounds.

    Raises:
        InputError: there is no such kind, or no fault.
    """
    if num_faults < 1 or not kinds:
        raise InputError(f"num_faults must be >= 1, with kinds to choose from; got {num_faults}")
    rng = random.Random(seed)
    deck: list[str] = []
    faults = []
    for i in range(num_faults):
        deck = deck or rng.sample(kinds, len(kinds))
        kind, rank = deck.pop(), rng.randrange(num_replicas)
        strikes_replica = kind not in KINDS or KINDS[kind].role == "replica"
        faults.append(
            Fault(
                kind=kind,
                round=1 + i * (num_rounds - 1) // (num_faults + 1),
                rank=rank if strikes_replica else None,
            )
        )
    return faults
