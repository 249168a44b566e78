"""What a round costs the coordinator when groups of pushes are folded before it sees them."""

from collections.abc import Mapping
from functools import partial

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.memory import Watch
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import Vector

NUM_PARAMS = 4_000_000
GROUP = 4
SKIP = 3


def benchmark(quick: bool) -> Benchmark:
    """L=1, so that a round is an exchange and one step that computes next to nothing."""
    counts = (2, 4) if quick else (4, 8, 16)
    num_params = NUM_PARAMS // 10 if quick else NUM_PARAMS
    size = GROUP // 2 if quick else GROUP
    rounds = 5 if quick else 20
    return Benchmark(
        title=f"The coordinator's part of a round with trees of {size} replicas a group",
        quantities={
            "coordinator_ms": "CPU time of its process for each round, ms",
            "own_mb": "memory of its own at the peak (RssAnon, every 2 ms), MB",
        },
        cases=[
            Case(
                name=f"{num_params / 1e6:g} M parameters, n={n}",
                contestants={
                    f"tree={tree}": partial(_round, n, num_params, tree, rounds)
                    for tree in (None, size)
                },
                bases=("tree=None",),
            )
            for n in counts
        ],
        repeats=1 if quick else 3,
        surroundings=cluster,
    )


def _round(n: int, num_params: int, tree: int | None, rounds: int) -> Mapping[str, float]:
    with Watch() as watch:
        trace = train(
            Vector(num_params=num_params),
            num_replicas=n,
            num_rounds=SKIP + rounds + 1,
            sync_every=1,
            cpus=0.1,
            tree=tree,
            on_coordinator=watch.follow,
        )
    return {
        "coordinator_ms": 1e3 * trace.coordinator_cpu_s(SKIP),
        "own_mb": watch.own_kb / 1e3,
    }
