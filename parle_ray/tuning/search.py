"""The search itself: Tune's, with a placement group for each trial that its replicas lie in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining

from parle_ray.tuning.trial import Trial

Scheduler = Literal["none", "asha", "pbt"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and how.

    Attributes:
        trial: what is called with the values.
        space: name -> Tune's domain.
        num_samples: trials, or times that a grid is gone through.
        scheduler: none runs all to the end; asha stops the worse half early; pbt goes on from
            the better ones' checkpoints with changed values.
        num_rounds: of a trial.
        interval: rounds between two evaluations.
        resources: of a replica.
        num_replicas: of a trial.
        storage_path, name: where Tune keeps its state; there it is gone on with.
    """

    trial: Trial
    space: Mapping[str, Any]
    num_samples: int
    scheduler: Scheduler
    num_rounds: int
    interval: int
    resources: Mapping[str, float]
    num_replicas: int
    storage_path: str
    name: str

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        return tune.Tuner.can_restore(self._path)

    def run(self) -> tune.ResultGrid:
        """All trials; those that are done already are not run again."""
        if self.begun:
            return tune.Tuner.restore(self._path, self._trainable, resume_errored=True).fit()
        return tune.Tuner(
            self._trainable,
            param_space=dict(self.space),
            tune_config=tune.TuneConfig(
                metric="error",
                mode="min",
                num_samples=self.num_samples,
                scheduler=self._scheduler(),
                reuse_actors=True,  # each would import torch first
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(name=self.name, storage_path=self.storage_path, verbose=1),
        ).fit()

    @property
    def _path(self) -> str:
        return f"{self.storage_path}/{self.name}"

    @property
    def _trainable(self) -> Any:
        """A function, as Tune wants it. The first bundle, of Tune's own actor, is empty: that only
        waits for the replicas."""
        call = self.trial

        def trial(config: dict[str, Any]) -> None:
            call(config)

        bundles = [{}, *[dict(self.resources)] * self.num_replicas]
        return tune.with_resources(trial, tune.PlacementGroupFactory(bundles))

    def _scheduler(self) -> Any:
        if self.scheduler == "asha":
            return AsyncHyperBandScheduler(
                time_attr="round",
                max_t=self.num_rounds,
                grace_period=self.interval,
                reduction_factor=2,
            )
        if self.scheduler == "pbt":
            return PopulationBasedTraining(
                time_attr="round",
                perturbation_interval=self.interval,
                hyperparam_mutations=dict(self.space),
            )
        return FIFOScheduler()  # type: ignore[no-untyped-call]
