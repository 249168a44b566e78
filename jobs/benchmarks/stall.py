"""The part of a round in which a replica does not compute."""

from collections.abc import Mapping
from functools import partial

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import LENET, PERCEPTRON, WIDE, Problem

SKIP = 2


def benchmark(quick: bool) -> Benchmark:
    """Parle with L=25 and n=2, one thread each."""
    problems: dict[str, Problem] = (
        {"MLP, 0.67 M parameters": PERCEPTRON}
        if quick
        else {"LeNet, batch 128": LENET, "MLP, 36.5 M parameters, batch 16": WIDE}
    )
    return Benchmark(
        title="Time in which a replica's main thread does not compute, Parle, L=25, n=2",
        quantities={
            "stall_percent": "stall_s / round_s of the reports, mean over the rounds, %",
            "stall_ms": "stall_s, mean over the rounds, ms",
            "round_s": "round_s, mean over the rounds, s",
        },
        cases=[
            Case(
                name=name, contestants={"Parle (ours)": partial(_ours, problem, 3 if quick else 8)}
            )
            for name, problem in problems.items()
        ],
        repeats=1 if quick else 5,
        surroundings=cluster,
    )


def _ours(problem: Problem, rounds: int) -> Mapping[str, float]:
    seen = train(problem, num_rounds=SKIP + rounds).reports[SKIP:]
    stall, whole = (sum(report[name] for report in seen) for name in ("stall_s", "round_s"))
    return {
        "stall_percent": 100 * stall / whole,
        "stall_ms": 1e3 * stall / rounds,
        "round_s": whole / rounds,
    }
