"""Run a benchmark: `python -m jobs.bench NAME [--quick] [--repeats N] [--out DIR]`.

The numbers are worth what the machine's quiet is worth: run nothing else beside it.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jobs.arguments import check_choice
from jobs.benchmarks import harness, output
from parle_ray.cli import exit_status
from parle_ray.console.parser import Parser, positive

PROG = "python -m jobs.bench"

BENCHMARKS = {
    "step": "a training step of a replica / of a bare PyTorch loop",
    "update": "Parle's local update / torch.optim.SGD",
    "exchange": "one exchange of weights, memcpy and gloo's all-reduce",
    "stall": "the part of a round in which a replica does not compute",
    "startup": "from fit() to the first training step, ours / Ray Train's",
    "memory": "the coordinator's peak memory for 2 to 16 replicas",
    "tree": "the coordinator's CPU time and memory for each round, with a tree / without",
    "bytes": "bytes sent for each step, ours / a ring's all-reduce",
    "scaling": "CPU time of an exchange with 8 replicas / with 2",
    "plan": "a round as `python -m parle_ray plan` predicts it / as it is",
    "recovery": "after a kill, ours / Ray Train's; the others beside a slow replica / without",
    "uneven": "samples a second beside a slow replica, each walking what it can / all the same",
    "search": "Ray Tune / its runs one after the other, and the end of a trial's actors",
    "hierarchy": "bytes between two nodes and error, with sheriffs / without (needs root)",
    "network": "samples a second on slow networks, ours / Ray Train's (needs root)",
}
"""Name, which is its file in `jobs/benchmarks`, imported when asked for -> what it compares."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 1 if a contestant failed."""
    given = list(sys.argv[1:] if argv is None else argv)
    return exit_status(lambda: _run(given))


def read(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments.

    Raises:
        InputError: names the argument and the nearest that there is.
    """
    parser = Parser(PROG, __doc__ or "", BENCHMARKS)
    parser.add_argument("name", nargs="?", help="which benchmark")
    parser.add_argument("--quick", action="store_true", help="seconds: small sizes, one repeat")
    parser.add_argument("--repeats", type=positive, help="how often each contestant runs")
    parser.add_argument("--out", type=Path, default=Path("bench_results"), help="folder of results")
    arguments = parser.read(argv)
    check_choice("benchmark", arguments.name, list(BENCHMARKS))
    return arguments


def _run(argv: Sequence[str]) -> int:
    arguments = read(argv)
    console = Console()
    name: str = arguments.name
    benchmark = _load(name)(quick=arguments.quick)
    benchmark = replace(benchmark, repeats=arguments.repeats or benchmark.repeats)
    on = output.machine()
    with benchmark.surroundings():
        samples = harness.measure(benchmark, lambda text: console.print(text, style="dim"))
    output.write(benchmark, name, samples, on, arguments.out)
    console.print(output.table(benchmark, harness.summarise(benchmark, samples)))
    for line in (
        ", ".join(f"{key} {value}" for key, value in on.items()),
        f"{arguments.out}/{name}.json, .parquet, .html",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    return 1 if samples["note"].str.startswith("failed").any() else 0


def _load(name: str) -> Callable[..., harness.Benchmark]:
    make: Callable[..., harness.Benchmark]
    make = importlib.import_module(f"jobs.benchmarks.{name}").benchmark
    return make


if __name__ == "__main__":
    sys.exit(main())
