"""Runs what is missing of a comparison, and keeps each run when it is done."""

from collections.abc import Callable, Sequence
from itertools import groupby

import ray
from ray.train import ScalingConfig

from jobs.comparison import on_parle_ray, ray_train
from jobs.comparison.cases import Case, Setup
from jobs.comparison.methods import Workers
from jobs.comparison.store import Store
from parle_ray.console.config import Config

Say = Callable[[str], None]


def search(setup: Setup, store: Store, cases: Sequence[Case], say: Say) -> None:
    """Score the candidates that have not been: no time is taken, so several run at once."""
    missing = store.missing(cases)
    score(setup, store, [case for case in missing if not _on_ray_train(case)], say)
    scaling = scaling_of(setup.config)
    theirs = [case for case in missing if _on_ray_train(case)]
    for method, group in groupby(theirs, lambda case: case.method):
        say(f"search: {method}")
        together = list(group)
        for case, run in zip(together, ray_train.run(setup, together, scaling), strict=True):
            store.keep(case, run)


def score(setup: Setup, store: Store, cases: Sequence[Case], say: Say) -> None:
    """Make those of our runs that have not been, each in a process, as many at once as fit."""
    one = ray.remote(num_cpus=1, num_gpus=setup.config.gpus_per_replica)(on_parle_ray.score)
    shared = ray.put(setup)
    pending = {one.remote(shared, case): case for case in store.missing(cases)}
    while pending:
        (done, *_), _ = ray.wait(list(pending))
        case = pending.pop(done)
        store.keep(case, ray.get(done))
        say(f"search: {case.key} is scored")


def compare(setup: Setup, store: Store, cases: Sequence[Case], say: Say) -> None:
    """Make the runs that have not been, in their order."""
    missing = store.missing(cases)
    scaling = scaling_of(setup.config)
    for i, case in enumerate(missing):
        say(f"run {i + 1} of {len(missing)}: {case.method}, lr {case.lr:g}, seed {case.seed}")
        if _on_ray_train(case):
            (run,) = ray_train.run(setup, [case], scaling)
        else:
            run = on_parle_ray.run(setup, case, scaling)
        store.keep(case, run)


def scaling_of(config: Config) -> ScalingConfig:
    """What n workers or replicas ask Ray for, the same on both sides."""
    asked = {"CPU": config.cpus_per_replica, "GPU": config.gpus_per_replica or None}
    return ScalingConfig(
        num_workers=config.num_replicas,
        use_gpu=config.gpus_per_replica > 0,
        resources_per_worker={k: v for k, v in asked.items() if v is not None} or None,
    )


def _on_ray_train(case: Case) -> bool:
    return isinstance(case.how, Workers)
