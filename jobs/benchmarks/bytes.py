"""Bytes that training sends, for each replica and step."""

from collections.abc import Mapping
from functools import partial

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import Vector

NUM_PARAMS = 10_000
SYNC_EVERY = 25


def benchmark(quick: bool) -> Benchmark:
    """Counted by us, computed for DDP: a ring's all-reduce sends 2(n-1)/n of the gradient."""
    n = 2 if quick else 8
    return Benchmark(
        title=f"Bytes sent for each replica and step, n={n}, L={SYNC_EVERY}, float32",
        quantities={"bytes": "for each replica and step and each parameter"},
        cases=[
            Case(
                name=f"{NUM_PARAMS:,} parameters",
                contestants={
                    "Parle (ours), up and down": partial(_ours, n),
                    "DDP, ring (computed, not measured)": partial(_ring, n),
                },
                bases=("DDP, ring (computed, not measured)",),
            )
        ],
        repeats=1,
        surroundings=cluster,
    )


def _ours(n: int) -> Mapping[str, float]:
    problem = Vector(num_params=NUM_PARAMS)
    trace = train(problem, num_replicas=n, num_rounds=3, sync_every=SYNC_EVERY, cpus=0.1)
    return {"bytes": trace.median("bytes_sent", 0) / n / SYNC_EVERY / NUM_PARAMS}


def _ring(n: int) -> Mapping[str, float]:
    return {"bytes": 2 * (n - 1) / n * 4}
