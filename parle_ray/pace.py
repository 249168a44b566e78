"""Rounds of unequal length: a schedule over the mini-batches of a run says how many each has."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from parle_ray.schedules import Plan, Schedule


@dataclass(frozen=True)
class Pace(Schedule):
    """How many mini-batches each round of a planned run has.

    A round has as many as `schedule` gives for the mini-batch that it begins with, to the nearest
    whole number, and no more than are left of the run.

    >>> from parle_ray.schedules import Steps
    >>> [Pace(Steps((1, 4), (0.5,), num_rounds=12), 12)(round) for round in range(8)]
    [1, 1, 1, 1, 1, 1, 4, 2]

    Attributes:
        schedule: bound to the run, counted in mini-batches.
        num_steps: mini-batches of a replica in the whole run.
    """

    schedule: Schedule
    num_steps: int

    def __call__(self, round: int) -> float:
        return self.before(round + 1) - self.before(round)

    def before(self, round: int) -> int:
        """How many mini-batches come before a round; after the planned end as many as in one of
        the last length follow in each."""
        edges = _edges(self)
        beyond = round - (len(edges) - 1)
        return edges[round] if beyond < 0 else edges[-1] + beyond * (edges[-1] - edges[-2])

    def round_at(self, step: int) -> int:
        """The round of the mini-batch `step`, from 0: `before` the other way round."""
        edges = _edges(self)
        beyond = step - edges[-1]
        if beyond < 0:
            return bisect_right(edges, step) - 1
        return self.num_rounds + beyond // (edges[-1] - edges[-2])

    @property
    def num_rounds(self) -> int:
        """Of the whole run."""
        return len(_edges(self)) - 1

    @property
    def lowest(self) -> float:
        return self.schedule.lowest


@lru_cache(maxsize=4)
def _edges(pace: Pace) -> tuple[int, ...]:
    """Where the rounds of a run begin, and where the last ends."""
    edges = [0]
    while edges[-1] < pace.num_steps:
        left = pace.num_steps - edges[-1]
        edges.append(edges[-1] + max(1, round(min(left, pace.schedule(edges[-1])))))
    return tuple(edges)


def paced(schedule: Schedule, num_rounds: int | None) -> int | Pace:
    """The pace of a run of so many rounds: that of the longest run that has them.

    Without a planned end it is the length that the schedule begins with.
    """
    if isinstance(schedule, Pace):
        return schedule
    if num_rounds is None:
        return max(1, round(schedule.bind(Plan(num_rounds=None))(0)))
    most = num_rounds
    while _over(schedule, most).num_rounds <= num_rounds:
        most *= 2
    steps = bisect_right(range(most), num_rounds, key=lambda s: _over(schedule, s).num_rounds) - 1
    return _over(schedule, max(1, steps))


def rounds_in(sync_every: int | Schedule, num_steps: int) -> int:
    """How many rounds so many mini-batches begin."""
    if isinstance(sync_every, Schedule):
        return _over(sync_every, num_steps).num_rounds
    return math.ceil(num_steps / sync_every)


def _over(schedule: Schedule, num_steps: int) -> Pace:
    if isinstance(schedule, Pace):
        return schedule
    return Pace(schedule.bind(Plan(num_rounds=max(1, num_steps))), num_steps)
