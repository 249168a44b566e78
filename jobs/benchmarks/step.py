"""A training step of a replica, exchange included, against a bare PyTorch loop and the rivals."""

from collections.abc import Mapping
from functools import partial

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import LENET, PERCEPTRON, Problem
from jobs.benchmarks.rivals import RIVALS, SYNC_EVERY, run

SKIP = 2
"""Rounds that nothing is counted in: memory is touched for the first time, libraries warm up."""


def benchmark(quick: bool) -> Benchmark:
    """n = 2, one thread each; both of a pair at the same time on the same machine."""
    problems: dict[str, Problem] = {"MLP, 0.67 M parameters, batch 64": PERCEPTRON}
    if not quick:
        problems["LeNet, batch 128"] = LENET
    rounds = 4 if quick else 12
    return Benchmark(
        title=f"A training step, n = 2, one thread each, an exchange every {SYNC_EVERY} steps",
        quantities={
            "cpu_ms": "CPU time of a replica's process for each step, ms",
            "wall_ms": "wall time of a step, ms",
            "cpu_all_ms": "CPU time for each step with the replica's part of the coordinator's, ms",
        },
        cases=[
            Case(
                name=name,
                contestants={"Parle (ours)": partial(_ours, problem, rounds)}
                | {rival: partial(_rival, problem, rival, rounds) for rival in RIVALS},
                bases=("bare loop",),
            )
            for name, problem in problems.items()
        ],
        repeats=1 if quick else 5,
        surroundings=cluster,
    )


def _ours(problem: Problem, rounds: int) -> Mapping[str, float]:
    trace = train(problem, num_rounds=SKIP + rounds + 1, sync_every=SYNC_EVERY)
    cpu = trace.replica_cpu_s(SKIP)
    return {
        "cpu_ms": 1e3 * cpu / SYNC_EVERY,
        "wall_ms": 1e3 * trace.replica_wall_s(SKIP) / SYNC_EVERY,
        "cpu_all_ms": 1e3 * (cpu + trace.coordinator_cpu_s(SKIP) / 2) / SYNC_EVERY,
    }


def _rival(problem: Problem, rival: str, rounds: int) -> Mapping[str, float]:
    found = run(problem, rival, rounds * SYNC_EVERY)
    return found | {"cpu_all_ms": found["cpu_ms"]}
