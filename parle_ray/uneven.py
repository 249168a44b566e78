"""How far each replica walks in each round where the strategy is `uneven`, in one process."""

from collections.abc import Sequence
from numbers import Integral

from parle_ray.errors import InputError
from parle_ray.membership.local_updates import LocalUpdates


class BySpeed:
    """As a coordinator asks replicas whose walks take what they take on a virtual clock.

    Args:
        speeds: mini-batches in a unit of time, by rank.

    >>> walks = BySpeed([1.0, 2.0])
    >>> [walks.of(round, 10) for round in range(2)]
    [[10, 10], [5, 10]]
    """

    def __init__(self, speeds: Sequence[float]) -> None:
        self._speeds = speeds
        self._updates = LocalUpdates()

    def of(self, round: int, longest: int) -> list[int]:
        """The mini-batches of each replica in a round in which the fastest walks `longest`."""
        found = [self._updates.steps(rank, longest) for rank in range(len(self._speeds))]
        for rank, (steps, speed) in enumerate(zip(found, self._speeds, strict=True)):
            self._updates.told(rank, steps / speed, steps)
        return found


class Told:
    """As it is known, such as from the reports of a run on a cluster.

    Args:
        steps: for each round, the mini-batches of each replica by rank.
    """

    def __init__(self, steps: Sequence[Sequence[int]], num_replicas: int) -> None:
        for round, each in enumerate(steps):
            whole = all(isinstance(n, Integral) and n >= 1 for n in each)  # NumPy's too
            if len(each) != num_replicas or not whole:
                raise InputError(
                    f"steps: {list(each)} of round {round} must be {num_replicas} whole numbers "
                    ">= 1, the mini-batches of each replica by rank"
                )
        self._steps = [[int(n) for n in each] for each in steps]

    def of(self, round: int, longest: int) -> list[int]:
        """The mini-batches of each replica in a round.

        Raises:
            InputError: there is none for it.
        """
        if round >= len(self._steps):
            raise InputError(
                f"steps: there are {len(self._steps)} rounds of them and this run has more; give "
                "those of a run of this task, a list for each round"
            )
        return self._steps[round]
