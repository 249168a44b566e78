"""Rounds of which a stretch of the vector travels: see `Strategy.moves` and `Strategy.sends`."""

from torch import Tensor

from parle_ray.fold import Pushed
from parle_ray.strategies import State, Strategy


def length(part: slice) -> int:
    """Of a stretch.

    >>> length(slice(3, 5))
    2
    """
    return int(part.stop - part.start)


def inside(stretch: slice, frame: slice) -> slice:
    """What of a stretch lies in a frame, counted from where the frame starts; it may be empty.

    >>> inside(slice(3, 9), slice(5, 20)), inside(slice(3, 9), slice(10, 20))
    (slice(0, 4, None), slice(0, 0, None))
    """
    start = min(max(stretch.start, frame.start), frame.stop)
    stop = min(max(stretch.stop, start), frame.stop)
    return slice(start - frame.start, stop - frame.start)


def exchanged(
    strategy: Strategy, round: int, num_params: int, num_replicas: int
) -> tuple[list[int], list[int]]:
    """Parameters that go up from each replica in a round, and that come down to each."""
    up = [
        length(strategy.sends(round, num_params, rank, num_replicas))
        for rank in range(num_replicas)
    ]
    return up, num_replicas * [length(strategy.moves(round, num_params))]


def merge(strategy: Strategy, master: Tensor, state: State, pushed: Pushed, round: int) -> Tensor:
    """`Strategy.merge`, with the stretch that the round moves; that of the master.

    The numbers of the state are the whole's.
    """
    part = strategy.moves(round, len(master))
    if length(part) == len(master):
        strategy.merge(master, state, pushed, round)
        return master
    stretch = master[part]
    views = {name: v[part] if v.dim() else v for name, v in state.items()}
    strategy.merge(stretch, views, pushed, round)
    state.update({name: number for name, number in views.items() if not number.dim()})
    return stretch
