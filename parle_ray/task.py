"""Everything the user brings to a run, in one value that can be sent anywhere."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from parle_ray.compression import MasterEnd, ReplicaEnd, check_compression
from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.flat import FlatModule
from parle_ray.generators import Generators
from parle_ray.membership.patience import Patience
from parle_ray.pace import rounds_in
from parle_ray.schedules import Plan
from parle_ray.spread import SpreadModule, is_spread
from parle_ray.strategies import Strategy
from parle_ray.tree import check_tree

ModelFn = Callable[[], nn.Module]
LossFn = Callable[[nn.Module, Any], Tensor]
BatchesFn = Callable[[int, int], Iterable[Any]]
OptimizerFn = Callable[[list[nn.Parameter]], Optimizer]
SchedulerFn = Callable[[Optimizer], LRScheduler]
EvaluateFn = Callable[[nn.Module], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model, its data and how to train it; the arguments of `ParleTrainer` and `simulate`.

    Raises:
        InputError: a number is out of its range, or something is not what it should be.
    """

    model_fn: ModelFn
    loss_fn: LossFn
    batches_fn: BatchesFn
    strategy: Strategy
    inner_optimizer_fn: OptimizerFn
    lr_scheduler_fn: SchedulerFn | None = None
    evaluate_fn: EvaluateFn | None = None
    num_replicas: int
    num_rounds: int | None = None
    num_epochs: int | None = None
    seed: int = 0
    compression: str = "none"
    tree: int | None = None
    execution: Execution = field(default_factory=Execution)
    patience: Patience = field(default_factory=Patience)
    """Not the user's to set: it follows the times that rounds take."""

    def __post_init__(self) -> None:
        for name in ("model_fn", "loss_fn", "batches_fn", "inner_optimizer_fn"):
            if not callable(getattr(self, name)):
                raise InputError(f"{name} must be a function, got {getattr(self, name)!r}")
        if not isinstance(self.strategy, Strategy):
            hint = f"; write {self.strategy.__name__}()" if isinstance(self.strategy, type) else ""
            raise InputError(f"strategy must be a Strategy, got {self.strategy!r}{hint}")
        whole = self.strategy.walks_apart or not self.strategy.coordinate_wise
        if self.execution.shared_by and whole:
            raise InputError(
                f"execution.{self.execution.shared_by[0]}: {type(self.strategy).__name__} needs "
                "its vectors whole; leave it out"
            )
        _check_whole("num_replicas", self.num_replicas, 1)
        _check_whole("seed", self.seed, 0)
        check_compression(self.compression)
        check_tree(self.tree, self.compression)
        if self.tree is not None and not self.strategy.synchronous:
            raise InputError(
                f"tree: {self.tree} with {type(self.strategy).__name__}, which merges each push "
                "when it comes, so that none waits for its group; leave tree out"
            )
        if (self.num_rounds is None) == (self.num_epochs is None):
            raise InputError(
                "give num_rounds or num_epochs, one of them, "
                f"got num_rounds={self.num_rounds} and num_epochs={self.num_epochs}"
            )
        for name in ("num_rounds", "num_epochs"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 1)

    def fitted_to(self, batches_per_pass: int | None, codec: str | None = None) -> "Task":
        """The same task with its length in rounds known and its schedules bound to it.

        Args:
            batches_per_pass: of one replica, if its data have a length.
            codec: what `compression="auto"` comes to; `none` in one process, where no link is.
        """
        rounds = self.num_rounds
        if rounds is None:
            assert self.num_epochs is not None
            if batches_per_pass is None:
                raise InputError(
                    "num_epochs: the batches have no length (no __len__), so a pass over the data "
                    "cannot be counted in rounds; give num_rounds"
                )
            # An empty pass is 0 rounds here; the stream says it better when it finds nothing.
            steps = self.num_epochs * max(1, batches_per_pass)
            rounds = rounds_in(self.strategy.sync_every, steps)
        plan = Plan(num_rounds=rounds, batches_per_pass=batches_per_pass)
        return replace(
            self,
            num_rounds=rounds,
            num_epochs=None,
            strategy=self.strategy.bind(plan),
            compression=codec or ("none" if self.compression == "auto" else self.compression),
        )

    def round_of(self, version: int) -> int:
        """The round in which a question of this number is asked (see `Roll.version`)."""
        return version if self.strategy.synchronous else version // self.num_replicas

    def first_of(self, round: int) -> int:
        """The number of the first question of a round."""
        return round if self.strategy.synchronous else round * self.num_replicas

    def replica_end(self, known: Tensor) -> ReplicaEnd | None:
        """The replica's end of a compressed exchange; None if vectors travel as they are."""
        if self.compression == "none":
            return None
        return ReplicaEnd(self.compression, known, relative=self.strategy.pushes_near_master)

    def master_end(self, known: Tensor) -> MasterEnd | None:
        """The master's end of it."""
        if self.compression == "none":
            return None
        return MasterEnd(self.compression, known, relative=self.strategy.pushes_near_master)

    def build(self, device: torch.device | None = None) -> FlatModule:
        """The model with its seeded first parameters, which every replica and the master share."""
        with Generators(self.seed):
            module = self.model_fn()
        if not isinstance(module, nn.Module):
            raise InputError(f"model_fn must return a torch.nn.Module, got {type(module).__name__}")
        if is_spread(module):
            return SpreadModule(module, device or torch.device("cpu"))
        return FlatModule(module if device is None else module.to(device))

    def optimizer(self, flat: FlatModule) -> tuple[Optimizer, LRScheduler | None]:
        """The user's optimiser on the flat module's parameters, and its schedule."""
        inner = self.inner_optimizer_fn(flat.optimised)
        if not isinstance(inner, Optimizer):
            raise InputError(
                "inner_optimizer_fn must return a torch.optim.Optimizer, "
                f"got {type(inner).__name__}"
            )
        for group in inner.param_groups:
            if "lr" in group and not group["lr"] > 0.0:
                raise InputError(f"inner_optimizer_fn: lr must be > 0, got {group['lr']}")
        own = {id(p) for p in flat.optimised}
        if not all(id(p) in own for group in inner.param_groups for p in group["params"]):
            raise InputError(
                "inner_optimizer_fn must optimise the parameters that it is given, "
                "(parameters) -> torch.optim.SGD(parameters, ...), not those of another module"
            )
        scheduler = self.lr_scheduler_fn(inner) if self.lr_scheduler_fn else None
        if scheduler is not None and (
            not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau)
        ):
            raise InputError(
                "lr_scheduler_fn must return a torch lr scheduler whose step() takes nothing, "
                f"got {type(scheduler).__name__}"
            )
        return inner, scheduler


def _check_whole(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} must be a whole number, got {value!r}")
    if value < low:
        raise InputError(f"{name} must be >= {low}, got {value}")
