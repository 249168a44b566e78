"""Runs of `ParleTrainer` on a Ray cluster, with clocks in the replicas and in the coordinator."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray.train import RunConfig, ScalingConfig

from jobs.benchmarks.problems import Problem, sgd
from jobs.benchmarks.stamps import Stamped, StampedBatches, StampedParle, rate, read
from parle_ray import ParleTrainer
from parle_ray.execution import Execution

UNSEEN = 3
"""Rounds that a run is planned longer than it is watched: the checkpoint at its end falls there."""


@contextmanager
def cluster(num_cpus: int = 4) -> Iterator[None]:
    """A cluster of this machine's own, or the one that this process is in already."""
    if ray.is_initialized():
        yield
        return
    ray.init(address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Trace:
    """What was seen of a run.

    Attributes:
        reports: of the rounds, in their order.
        replicas: rank -> a stamp for every round it began.
        coordinator: a stamp for every round it closed.
        pushes: of each replica, a stamp for every push.
    """

    reports: list[dict[str, Any]]
    replicas: dict[int, pd.DataFrame]
    coordinator: pd.DataFrame
    pushes: list[pd.DataFrame]

    def replica_cpu_s(self, skip: int) -> float:
        """CPU time of a replica's process for each round, mean; the first `skip` left out."""
        return sum(rate(s, "cpu_s", skip) for s in self.replicas.values()) / len(self.replicas)

    def replica_wall_s(self, skip: int) -> float:
        """The same by the clock on the wall."""
        return sum(rate(s, "wall_s", skip) for s in self.replicas.values()) / len(self.replicas)

    def coordinator_cpu_s(self, skip: int) -> float:
        """CPU time of the coordinator's process for each round."""
        return rate(self.coordinator, "cpu_s", skip)

    def lead_s(self) -> list[float]:
        """Round -> how long before the last push the others came, mean over the replicas."""
        pushed = pd.concat([stamps["wall_s"] for stamps in self.pushes], axis=1)
        return list(pushed.rsub(pushed.max(axis=1), axis=0).mean(axis=1))

    def median(self, name: str, skip: int) -> float:
        """Of a metric of the reports."""
        return float(pd.Series([report[name] for report in self.reports[skip:]]).median())


def train(
    problem: Problem,
    *,
    num_replicas: int = 2,
    num_rounds: int,
    sync_every: int = 25,
    kind: Callable[..., Stamped] = StampedParle,
    cpus: float | None = None,
    tree: int | None = None,
    on_coordinator: Callable[[int], None] | None = None,
) -> Trace:
    """Train for `num_rounds` and stop there, in replicas of one thread each.

    Args:
        problem: what to train.
        num_replicas: n.
        num_rounds: how many reports to wait for.
        sync_every: L.
        kind: of strategy.
        cpus: what each replica reserves; None leaves it to the trainer.
        tree: as in `ParleTrainer`.
        on_coordinator: is told the coordinator's process id when it has closed a round.
    """
    reports: list[dict[str, Any]] = []

    def listen(report: dict[str, Any]) -> None:
        reports.append(report)
        if on_coordinator and len(reports) == 1:
            on_coordinator(int(read(stamps / "coordinator", 1)["pid"].iloc[0]))
        if len(reports) == num_rounds:
            raise _Seen

    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder)
        trainer = ParleTrainer(
            model_fn=problem.model,
            loss_fn=problem.loss,
            batches_fn=StampedBatches(problem, sync_every, stamps),
            strategy=kind(sync_every=sync_every, folder=folder),
            inner_optimizer_fn=sgd,
            num_rounds=num_rounds + UNSEEN,
            checkpoint_every=num_rounds + UNSEEN,
            scaling_config=ScalingConfig(
                num_workers=num_replicas,
                resources_per_worker=None if cpus is None else {"CPU": cpus},
            ),
            run_config=RunConfig(name=f"bench_{time.time_ns()}", storage_path=folder),
            tree=tree,
            execution=Execution(device="cpu", num_threads=1),
            on_report=listen,
        )
        with suppress(_Seen):
            trainer.fit()
        return Trace(
            reports,
            {rank: read(stamps / f"replica_{rank}", num_rounds) for rank in range(num_replicas)},
            read(stamps / "coordinator", num_rounds),
            [read(path, num_rounds) for path in sorted(stamps.glob("push_*"))],
        )


class _Seen(Exception):
    """All rounds that were to be watched are closed."""
