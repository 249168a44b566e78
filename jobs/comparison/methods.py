"""The methods that are compared: one row a method."""

import math
from dataclasses import dataclass, field
from typing import Literal

from jobs.comparison.averaging import EMA, SWA, Averaging, Last
from jobs.comparison.budget import Budget, Walk
from parle_ray.strategies import (
    PAPA,
    Asynchronous,
    AsynchronousEASGD,
    AutoSplash,
    BoundedAdvance,
    DiLoCo,
    ElasticSGD,
    EntropySGD,
    HierarchicalParle,
    LocalSGD,
    ParameterMixing,
    Parle,
    Rotation,
    SlowMo,
    Splash,
    Strategy,
    StreamingDiLoCo,
    TailAveraging,
    WeedOut,
)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Replicas of `ParleTrainer`.

    Attributes:
        strategy: the algorithm, with the defaults that it has in this project.
        alone: one replica, with the budget of all.
        whole_batch: each replica has mini-batches of B, and walks an n-th as far; else they are
            as small as those of DDP's workers.
    """

    strategy: Strategy
    alone: bool = False
    whole_batch: bool = False

    def walk(self, budget: Budget) -> Walk:
        """How the budget is spent."""
        workers = 1 if self.alone else budget.num_replicas
        return budget.walk(
            workers=workers, whole_batch=self.whole_batch, sync_every=self.strategy.steps(0)
        )


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Workers of Ray Train's `TorchTrainer`.

    Attributes:
        together: `ddp` averages the gradients of each step; the others walk alone from beginning
            to end, and `weights` averages their weights then, `predictions` their
            probabilities.
        averaging: over the time of the run.
    """

    together: Literal["ddp", "weights", "predictions"] = "ddp"
    averaging: Averaging = field(default_factory=Last)

    def walk(self, budget: Budget) -> Walk:
        """How the budget is spent."""
        return budget.walk(workers=budget.num_replicas)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the comparison.

    Attributes:
        title: its name for people.
        how: what runs it.
    """

    title: str
    how: Exchange | Workers


METHODS: dict[str, Method] = {
    "ray_train_ddp": Method(title="DDP (Ray Train)", how=Workers()),
    "sgd_swa": Method(title="DDP + SWA", how=Workers(averaging=SWA())),
    "sgd_ema": Method(title="DDP + EMA", how=Workers(averaging=EMA())),
    "parle": Method(title="Parle", how=Exchange(strategy=Parle())),
    "parle_whole": Method(
        title="Parle, batch of n", how=Exchange(strategy=Parle(), whole_batch=True)
    ),
    "parle_1": Method(title="Parle, n = 1", how=Exchange(strategy=Parle(), alone=True)),
    "parle_free": Method(
        title="Parle, free chains",
        how=Exchange(strategy=Parle(gamma=math.inf, outer_lr=1.0, outer_momentum=0.0)),
    ),
    "hierarchical_parle": Method(
        title="Hierarchical Parle",
        how=Exchange(strategy=HierarchicalParle(sync_every=25, meetings=5)),
    ),
    "entropy_sgd": Method(title="Entropy-SGD", how=Exchange(strategy=EntropySGD())),
    "elastic_sgd": Method(title="Elastic-SGD", how=Exchange(strategy=ElasticSGD())),
    "local_sgd": Method(title="Local SGD", how=Exchange(strategy=LocalSGD())),
    "diloco": Method(title="DiLoCo", how=Exchange(strategy=DiLoCo(sync_every=25))),
    "streaming_diloco": Method(
        title="Streaming DiLoCo", how=Exchange(strategy=StreamingDiLoCo(sync_every=5, fragments=5))
    ),
    "slowmo": Method(title="SlowMo", how=Exchange(strategy=SlowMo(sync_every=25))),
    "papa": Method(title="PAPA", how=Exchange(strategy=PAPA(sync_every=5, alpha=0.995))),
    "splash": Method(title="Splash", how=Exchange(strategy=Splash())),
    "auto_splash": Method(title="Splash, found degree", how=Exchange(strategy=AutoSplash())),
    "rotation": Method(title="Model rotation", how=Exchange(strategy=Rotation())),
    "tail_averaging": Method(title="Tail-averaging", how=Exchange(strategy=TailAveraging())),
    "parameter_mixing": Method(
        title="Mixing", how=Exchange(strategy=ParameterMixing(sync_every=25))
    ),
    "asynchronous": Method(title="Asynchronous", how=Exchange(strategy=Asynchronous())),
    "bounded_advance": Method(title="Bounded advance", how=Exchange(strategy=BoundedAdvance())),
    "weed_out": Method(title="Weed-out", how=Exchange(strategy=WeedOut())),
    "asynchronous_easgd": Method(
        title="EASGD, asynchronous", how=Exchange(strategy=AsynchronousEASGD())
    ),
    "sgd_average": Method(title="n SGD runs, averaged", how=Workers(together="weights")),
    "sgd_ensemble": Method(title="n SGD runs, ensemble", how=Workers(together="predictions")),
}
"""Name -> method. A new strategy is a new row."""
