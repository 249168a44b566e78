"""A search with Ray Tune beside its runs one after the other; how soon a trial leaves no actor."""

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
from ray.util import list_named_actors

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster
from parle_ray.console.commands import make_trainer
from parle_ray.console.recipe import make_recipe
from parle_ray.tuning.command import tune
from parle_ray.tuning.trial import configure

CPUS = 2
LOOK_S = 0.1
FIELD = "strategy.rho"


def benchmark(quick: bool) -> Benchmark:
    """Trials of two replicas on two CPUs: one at a time has room."""
    values, rounds = ((1, 4), 10) if quick else ((0.5, 1, 2, 3, 4, 6, 8, 16), 100)
    argv = ["--data.name=digits", "--model.name=mlp", "--num_replicas=2"]
    argv += ["--cpus_per_replica=1", f"--num_rounds={rounds}", f"--evaluate_every={rounds // 5}"]
    runs = "runs, one after the other"
    return Benchmark(
        title=f"{len(values)} trials of {rounds} rounds, 2 replicas, {CPUS} CPUs",
        quantities={
            "search_s": "seconds, all of them",
            "release_s": "seconds from a trial's last report to its last actor's end, the longest",
        },
        cases=[
            Case(
                name="digits",
                contestants={
                    "tune, all to the end": partial(_search, argv, values, "none"),
                    "tune, ASHA": partial(_search, argv, values, "asha"),
                    runs: partial(_one_after_the_other, argv, values),
                },
                bases=(runs,),
            )
        ],
        repeats=1,
        surroundings=partial(cluster, CPUS),
    )


def _search(argv: list[str], values: tuple[float, ...], scheduler: str) -> Mapping[str, float]:
    grid = f"{FIELD}=grid({', '.join(map(str, values))})"
    asked = ["--vary", grid, "--num_samples=1", f"--scheduler={scheduler}", "--name=search"]
    with tempfile.TemporaryDirectory() as folder, _watched() as last_seen:
        began = time.perf_counter()
        failed = tune([*argv, *asked, f"--storage_path={folder}"], "python -m parle_ray")
        seconds = time.perf_counter() - began
        if failed:
            raise RuntimeError("a trial failed")
        trials = pd.read_parquet(Path(folder, "search", "trials.parquet"))["trial"]
        reported = {one: _last_report(Path(folder, "search_runs", one)) for one in trials}
        ends = {one: _end_of(one, last_seen) - reported[one] for one in trials}
    return {"search_s": seconds, "release_s": max(ends.values())}


def _one_after_the_other(argv: list[str], values: tuple[float, ...]) -> Mapping[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for value in values:
            config = configure([*argv, f"--storage_path={folder}"], {FIELD: value})
            make_trainer(make_recipe(config), f"run_{value}").fit()
        return {"search_s": time.perf_counter() - began}


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Actor -> when it was last seen, by the clock of files."""
    last_seen: dict[str, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            for actor in list_named_actors(all_namespaces=True):
                last_seen[actor["name"]] = time.time()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield last_seen
        time.sleep(2 * LOOK_S)
    finally:
        over.set()
        thread.join()
    left = {actor["name"] for actor in list_named_actors(all_namespaces=True)}
    if left & last_seen.keys():
        raise RuntimeError(f"{sorted(left)} were left behind")


def _last_report(run: Path) -> float:
    return (run / "result.json").stat().st_mtime


def _end_of(trial: str, last_seen: Mapping[str, float]) -> float:
    return max(when for name, when in last_seen.items() if name.startswith(f"{trial}/"))
