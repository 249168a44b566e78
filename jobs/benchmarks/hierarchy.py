"""Bytes between two nodes and test error of 2 x 2 replicas: Parle, with a tree, with sheriffs."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.namespaces import DEVICE, Hosts, hosts
from parle_ray.console.commands import make_trainer
from parle_ray.console.config import Config, DataConfig, ModelConfig
from parle_ray.console.recipe import make_recipe
from parle_ray.execution import Execution
from parle_ray.strategies import HierarchicalParle, Parle

MBIT = 100
NETWORKS = {"fashion_mnist": "lenet", "digits": "small_cnn"}
DEPUTIES = 2
"""Of a node, of which there are two."""

FLAT: dict[str, Any] = {"num_replicas": 2 * DEPUTIES, "cpus_per_replica": 1 / DEPUTIES}
NODES: dict[str, Any] = {"num_replicas": 2, "execution": Execution(num_processes=DEPUTIES)}
CONTESTANTS: dict[str, dict[str, Any]] = {
    "Parle, L=25": {**FLAT, "strategy": Parle()},
    "Parle, L=25, tree": {**FLAT, "strategy": Parle(), "tree": DEPUTIES},
    "Parle, L=50": {**FLAT, "strategy": Parle(sync_every=50)},
    "sheriffs, L=25, exchange every 25": {
        **NODES,
        "strategy": HierarchicalParle(sync_every=25, meetings=1),
    },
    "sheriffs, L=25, exchange every 50": {**NODES, "strategy": HierarchicalParle()},
}


def benchmark(quick: bool) -> Benchmark:
    """The same mini-batches of Fashion-MNIST for all, or of the digits."""
    data, steps = ("digits", 200) if quick else ("fashion_mnist", 1000)
    there: list[Hosts] = []

    @contextmanager
    def surroundings() -> Iterator[None]:
        with hosts() as made:
            made.limit(MBIT)
            there.append(made)
            yield

    def run(contestant: str) -> Mapping[str, float]:
        return there[0].figures("-m", "jobs.benchmarks.hierarchy", contestant, data, str(steps))

    return Benchmark(
        title=f"Two nodes of {DEPUTIES} replicas at {MBIT} Mbit/s, {data}, {steps} steps of each",
        quantities={
            "bytes": "between the nodes for each mini-batch of a replica, both ways",
            "error": "of the master on the test set, %",
        },
        cases=[
            Case(
                name=f"{data}, {NETWORKS[data]}",
                contestants={name: partial(run, name) for name in CONTESTANTS},
                bases=("Parle, L=25",),
            )
        ],
        repeats=1 if quick else 3,
        surroundings=surroundings,
    )


@dataclass
class Line:
    """Listens to a run, and looks at the line at each report.

    Attributes:
        seen: the bytes that have crossed it so far, and the report.
    """

    seen: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)

    def __call__(self, report: Mapping[str, Any]) -> None:
        self.seen.append((crossed(), report))

    def figures(self) -> dict[str, float]:
        """Between the first report and the last, at which everything runs."""
        (bytes_before, first), *_, (bytes_after, last) = self.seen
        return {
            "bytes": (bytes_after - bytes_before) / (last["step"] - first["step"]),
            "error": 100.0 * last["error"],
        }


def crossed() -> int:
    """Bytes that went through this host's end of the line so far, in and out."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == DEVICE:
            fields = counters.split()
            return int(fields[0]) + int(fields[8])
    raise LookupError(f"no {DEVICE} here: this runs on a host of jobs.benchmarks.namespaces")


def _train(contestant: str, data: str, steps: int) -> dict[str, float]:
    settings = CONTESTANTS[contestant]
    rounds = steps // settings["strategy"].sync_every
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            data=DataConfig(name=data, batch_size=128),
            model=ModelConfig(name=NETWORKS[data]),
            num_rounds=rounds,
            evaluate_every=rounds,
            checkpoint_every=rounds,
            storage_path=folder,
            **settings,
        )
        line = Line()
        make_trainer(make_recipe(config), "hierarchy", on_report=line).fit()
    return line.figures()


if __name__ == "__main__":
    _contestant, _data, _steps = sys.argv[1:]
    print(json.dumps(_train(_contestant, _data, int(_steps))))
