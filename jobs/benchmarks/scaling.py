"""What an exchange costs in CPU time when more replicas take part."""

from collections.abc import Mapping
from functools import partial

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import Vector

SKIP = 3


def benchmark(quick: bool) -> Benchmark:
    """L=1, so that a round is an exchange and one step that computes next to nothing."""
    counts = (2, 4) if quick else (2, 4, 8, 16)
    sizes = {"0.27 M": 270_000} if quick else {"0.27 M": 270_000, "4 M": 4_000_000}
    return Benchmark(
        title="CPU time of an exchange for each replica, coordinator's and replicas' processes",
        quantities={
            "cpu_ms": "coordinator and replicas / (n x rounds), ms",
            "coordinator_ms": "the coordinator's part of it, ms",
        },
        cases=[
            Case(
                name=f"{name} parameters",
                contestants={
                    f"n={n}": partial(_exchange, n, size, 5 if quick else 30) for n in counts
                },
                bases=("n=2",),
            )
            for name, size in sizes.items()
        ],
        repeats=1 if quick else 5,
        surroundings=cluster,
    )


def _exchange(n: int, num_params: int, rounds: int) -> Mapping[str, float]:
    trace = train(
        Vector(num_params=num_params),
        num_replicas=n,
        num_rounds=SKIP + rounds + 1,
        sync_every=1,
        cpus=0.1,
    )
    coordinator = trace.coordinator_cpu_s(SKIP) / n
    return {
        "cpu_ms": 1e3 * (trace.replica_cpu_s(SKIP) + coordinator),
        "coordinator_ms": 1e3 * coordinator,
    }
