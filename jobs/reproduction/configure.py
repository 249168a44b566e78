"""From an experiment to the configuration of its runs."""

from dataclasses import dataclass, fields, replace
from typing import Any

from jobs.comparison.budget import scaled_rounds
from jobs.comparison.tasks import configuration
from jobs.reproduction.experiments import Experiment
from parle_ray.console.config import Config
from parle_ray.data import load
from parle_ray.data.catalogue import FACTS
from parle_ray.data.sources import data_root, find
from parle_ray.errors import InputError
from parle_ray.pace import rounds_in
from parle_ray.schedules import Scoping
from parle_ray.strategies import Strategy

STAND_INS = ("fashion_mnist", "digits")


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long an experiment is.

    Attributes:
        batches_per_pass: B, mini-batches in a pass over one replica's images.
        rounds: of L mini-batches.
        rounds_per_epoch: of an "epoch" of the paper's Parle, L passes or B rounds, scaled.
    """

    batches_per_pass: int
    rounds: int
    rounds_per_epoch: int


def check_data(name: str, root: str | None) -> None:
    """Refuse a set that is not here; nothing is downloaded behind an experiment's back.

    Raises:
        InputError: one line that says where to put which files.
    """
    where = data_root(root)
    if name == "digits" or find(name, where) is not None:
        return
    layout = FACTS[name].layouts[0]
    files = ", ".join(file for part in (*layout.train, *layout.test) for file in part)
    raise InputError(
        f"{name}: not found; put {files} into {where / layout.folders[0]} (PARLE_DATA is "
        f"another root), or try the experiment on other images: --stand_in {' or '.join(STAND_INS)}"
    )


def length(config: Config, num_images: int, scale: float) -> Length:
    """The length of so much of an experiment on so many images."""
    seen = int(config.data.fraction * num_images)
    per_pass = max(1, seen // config.data.batch_size)
    passes = config.num_epochs or 1
    return Length(
        batches_per_pass=per_pass,
        rounds=scaled_rounds(rounds_in(config.strategy.sync_every, passes * per_pass), scale),
        rounds_per_epoch=scaled_rounds(per_pass, scale),
    )


def configure(
    experiment: Experiment,
    *,
    scale: float,
    seed: int,
    stand_in: str | None = None,
    gpus_per_replica: float | None = None,
) -> Config:
    """The configuration of a run; loads the data once, to know how long a pass is.

    A shorter run has the same schedules in less time: scoping, which the paper ties to the size of
    the data set, is tied to so much less of it.

    Raises:
        InputError: the data are not here, or something is out of its range.
    """
    config = configuration(experiment.config)
    if stand_in is not None:
        config = replace(config, data=replace(config.data, name=stand_in))
    check_data(config.data.name, config.data.root)
    run = length(config, len(load(config.data.name, config.data.root)[0]), scale)
    gpus = config.gpus_per_replica if gpus_per_replica is None else gpus_per_replica
    return replace(
        config,
        strategy=_scoped(config.strategy, run.rounds_per_epoch),
        num_replicas=experiment.num_replicas,
        num_rounds=run.rounds,
        num_epochs=None,
        evaluate_every=run.rounds_per_epoch,
        gpus_per_replica=gpus,
        seed=seed,
    )


def _scoped(strategy: Strategy, batches_per_pass: int) -> Strategy:
    values = {field.name: getattr(strategy, field.name) for field in fields(strategy)}
    scoped: dict[str, Any] = {
        name: replace(value, batches_per_pass=batches_per_pass)
        for name, value in values.items()
        if isinstance(value, Scoping)
    }
    return replace(strategy, **scoped)
