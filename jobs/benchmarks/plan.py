"""What `plan` predicts for a round, against rounds that were run."""

import os
from collections.abc import Mapping
from functools import partial

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import Trace, cluster, train
from jobs.benchmarks.problems import LENET, PERCEPTRON, Images
from jobs.benchmarks.rivals import run
from jobs.benchmarks.step import Watch
from parle_ray.console.measure import measure
from parle_ray.console.plan_config import PlanConfig
from parle_ray.planning import CODECS, predict

SYNC_EVERY = 25


def benchmark(quick: bool) -> Benchmark:
    """One node, whose cores the replicas share, one thread each, and the coordinator with them."""
    problems = {"MLP, 0.67 M parameters": (PERCEPTRON, Watch(4, 4) if quick else Watch(24, 24))}
    if not quick:
        problems["LeNet, batch 128"] = (LENET, Watch(6, 10))
    sizes = (2,) if quick else (2, 3, 4)
    return Benchmark(
        title=f"A round of Parle, L={SYNC_EVERY}, as predicted from one replica, and as it is",
        quantities={f"round_s_{n}": f"round_s with n = {n}, median over the rounds" for n in sizes},
        cases=[
            Case(
                name=name,
                contestants={
                    "run": partial(_run, problem, watch, sizes),
                    "plan": partial(_plan, problem, watch, sizes),
                },
                bases=("run",),
            )
            for name, (problem, watch) in problems.items()
        ],
        repeats=1 if quick else 5,
        surroundings=cluster,
    )


def _run(problem: Images, watch: Watch, sizes: tuple[int, ...]) -> Mapping[str, float]:
    return {f"round_s_{n}": _trace(problem, watch, n).median("round_s", watch.skip) for n in sizes}


def _plan(problem: Images, watch: Watch, sizes: tuple[int, ...]) -> Mapping[str, float]:
    """As docs/plan.md says: the step from a run of one replica, the rest measured on the spot."""
    alone = _trace(problem, watch, 1)
    walk_s = alone.median("round_s", watch.skip) - alone.median("stall_s", watch.skip)
    config = measure(
        PlanConfig(
            step_s=walk_s / SYNC_EVERY,
            num_params=sum(p.numel() for p in problem.model().parameters()),
            batch_size=problem.batch_size,
            sync_every=SYNC_EVERY,
            nodes=1,
            cores_per_node=_cores(problem, watch.rounds),
        )
    )
    return {f"round_s_{n}": predict(config.scenario(n, CODECS)).round_s for n in sizes}


def _trace(problem: Images, watch: Watch, num_replicas: int) -> Trace:
    return train(
        problem,
        num_replicas=num_replicas,
        num_rounds=watch.skip + watch.rounds,
        sync_every=SYNC_EVERY,
        cpus=0.5,
    )


def _cores(problem: Images, rounds: int) -> float:
    """Cores that this machine is worth to the model: how much slower as many loops at once are."""
    cores = os.cpu_count() or 1
    alone, together = (
        run(problem, "bare loop", rounds * SYNC_EVERY, num)["wall_ms"] for num in (1, cores)
    )
    return min(cores, cores * alone / together)
