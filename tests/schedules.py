"""Schedules of the protocol: random ones, and all short ones.

python -m tests.schedules 10000      plays so many, explores further, and says what it saw
"""

import argparse
import copy
import itertools
import math
import time
from typing import Any

from parle_ray.errors import Diverged, InputError
from parle_ray.master import Master
from parle_ray.strategies import Strategy
from tests.protocol import OVERLAPS, Cluster, random_schedule

ENDS = (Diverged, InputError)
"""How a run may end: everybody pushed what cannot be merged."""
ALPHABET = ("walk", "arrive", "wait", "kill", "join")


def play(seed: int, kind: type[Master] = Master) -> int:
    """The rounds that a random schedule closed."""
    try:
        return int(random_schedule(seed, kind).master.round)
    except ENDS:
        return 0


def explore(n: int, strategy: Strategy, depth: int, until: float = math.inf) -> tuple[int, int]:
    """All interleavings of so many events, each state once.

    Args:
        until: when to begin no further event, in seconds of `time.perf_counter`.

    Returns:
        How many states there are, and of how many events they are all that there are.
    """
    first = Cluster(n, strategy, 2)
    seen, frontier = {_fingerprint(first)}, [first]
    for done in range(depth):
        following = []
        for before in frontier:
            if time.perf_counter() > until:
                return len(seen), done
            for event in before.events():
                if event[0] not in ALPHABET:
                    continue
                cluster = copy.deepcopy(before)
                cluster.do(event)
                key = _fingerprint(cluster)
                if key not in seen:
                    seen.add(key)
                    if not cluster.done:
                        following.append(cluster)
        frontier = following
    for cluster in frontier[:: max(1, len(frontier) // 50)]:
        cluster.settle()
    return len(seen), depth


def _fingerprint(c: Cluster) -> Any:
    master = c.master
    return (
        (master.round, tuple(master.ranks), tuple(sorted(master.answered))),
        (tuple(sorted(master.trailing)), tuple(sorted(master.restart.items()))),
        tuple(sorted(master._last.items())),
        tuple((w.alive, min(w.born, 1), tuple(r for r, _ in w.queue), w.newest) for w in c.walkers),
        tuple((s.rank, s.round, min(s.born, 1), s.seen, s.skipped) for s in c.wire),
        min(c.now - c.clock.opened, 40.0),
        tuple(sorted(master._open.fates.items())),
    )


def main() -> None:
    """Play and explore; a violation ends it with the seed or the state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("schedules", type=int, help="random schedules to play")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each exploration")
    arguments = parser.parse_args()
    rounds, violations = 0, []
    for seed in range(arguments.schedules):
        try:
            rounds += play(seed)
        except Exception as error:
            violations.append(seed)
            print(f"schedule {seed}: {type(error).__name__}: {error}")
    print(f"{arguments.schedules} schedules, {rounds} rounds, {len(violations)} violations")
    for n, strategy in itertools.product([1, 2, 3], OVERLAPS):
        until = time.perf_counter() + arguments.seconds
        states, depth = explore(n, strategy, 100, until)
        name = type(strategy).__name__
        print(f"{n} replicas, {name}: {states} states, all those of {depth} events")
    if violations:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
