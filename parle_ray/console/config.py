"""A run as plain values: what a YAML file or a command line says, and nothing else."""

import dataclasses
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from parle_ray.data import ALL_NAMES
from parle_ray.errors import InputError, check_name, nearest
from parle_ray.execution import Execution
from parle_ray.schedules import Schedule
from parle_ray.strategies import Parle, Strategy

LENGTHS = ("num_rounds", "num_epochs")
SGD_ARGUMENTS = {
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "fused": True,
}
"""Of torch.optim.SGD, where nothing else is said; the paper's, in one pass over memory."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What to train on.

    Attributes:
        name: an image set: digits (bundled), mnist, fashion_mnist, cifar10, cifar100, svhn; or
            python_stdlib, the sources of Python's own library as bytes.
        batch_size: examples in a mini-batch of one replica.
        augment: random horizontal flip and crop, as in the paper.
        fraction: the part of the training set that each replica sees, > 0 and <= 1.
        root: folder of the image sets; null takes PARLE_DATA, else ~/.cache/parle_ray.
        context: bytes of an example of a text; null is 128.
        held_out: evaluate on this many examples of the training set, which are then not trained
            on, in place of the test set: for choosing hyper-parameters.
    """

    name: str = "digits"
    batch_size: int = 128
    augment: bool = False
    fraction: float = 1.0
    root: str | None = None
    context: int | None = None
    held_out: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ALL_NAMES:
            raise InputError(
                f"data.name must be one of {', '.join(ALL_NAMES)}, "
                f"got {self.name!r}.{nearest(self.name, ALL_NAMES)}"
            )
        _at_least("data.batch_size", self.batch_size, 1)
        _at_least("data.context", self.context, 1)
        _at_least("data.held_out", self.held_out, 1)
        if not 0.0 < self.fraction <= 1.0:
            raise InputError(f"data.fraction must be > 0 and <= 1, got {self.fraction}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network.

    Attributes:
        name: small_cnn, mlp, lenet, all_cnn, wrn_16_4, wrn_28_10; a classification network of
            torchvision, such as resnet18; byte_lm for texts; or your own, as
            package.module:callable.
        args: its arguments, such as `--model.args.dropout 0.25`.
    """

    name: str = "small_cnn"
    args: dict[str, Any] = field(default_factory=dict)


def optimizer_class(path: str) -> type[Optimizer]:
    """The class of torch's optimisers that a path names.

    Raises:
        InputError: it names none.
    """
    try:
        made = pkgutil.resolve_name(path)
    except (AttributeError, ImportError, ValueError):
        made = None
    if not (isinstance(made, type) and issubclass(made, Optimizer)):
        raise InputError(
            f"optimizer: {path} is no class of torch.optim.Optimizer; name one, "
            "such as SGD or AdamW"
        )
    return made


@dataclass(frozen=True)
class InnerOptimizer:
    """A torch optimiser by its name, with its arguments; called with parameters it makes one.

    Raises:
        InputError: no such class, or it does not take these arguments.
    """

    class_path: str = "torch.optim.SGD"
    init_args: Mapping[str, Any] = field(default_factory=lambda: dict(SGD_ARGUMENTS))

    def __post_init__(self) -> None:
        make = optimizer_class(self.class_path)
        closure = inspect.signature(make.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            raise InputError(f"optimizer: {self.class_path} needs a closure; use SGD or AdamW")
        lr = self.init_args.get("lr", 1.0)
        if not isinstance(lr, int | float) or not lr > 0.0:
            raise InputError(f"optimizer.lr must be > 0, got {lr}")
        try:
            self([])
        except (TypeError, ValueError) as error:
            # The arguments are looked at before the parameters, and before torch imports its
            # compiler for the first optimiser of a process (2.5 s).
            if "empty parameter list" not in str(error):
                raise InputError(f"optimizer: {self.class_path}: {error}; change it") from error

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer: Optimizer = pkgutil.resolve_name(self.class_path)(parameters, **self.init_args)
        return optimizer


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything about a run.

    Attributes:
        strategy: the algorithm: Parle, HierarchicalParle, EntropySGD, ElasticSGD, LocalSGD,
            DiLoCo, StreamingDiLoCo, SlowMo, PAPA, SGD, TailAveraging, ParameterMixing, Splash,
            AutoSplash, Rotation; Asynchronous, BoundedAdvance, WeedOut, AsynchronousEASGD. Its
            arguments follow it, `--strategy.outer_lr 0.3`; where one may change in the run it takes
            a number or Constant, Scoping, Geometric, Cosine, Steps (sync_every also QSR).
        optimizer: the inner optimiser, any of torch.optim; SGD has lr 0.1, momentum 0.9,
            nesterov and weight_decay 5e-4 where you give nothing else.
        lr_schedule: of the inner optimiser over the planned run: cosine to zero, constant, or
            steps, x0.2 at 40, 70 and 90 % of the mini-batches.
        num_replicas: n, copies of the model that walk apart.
        min_replicas: start with so many, and grow to num_replicas when there is room; null: wait
            for all.
        num_rounds: length of the run in exchanges.
        num_epochs: its length in data passes of one replica, instead of num_rounds.
        gpus_per_replica: 1, a part such as 0.33 to share a GPU, or 0 to train on CPUs; one for each
            of execution.num_processes.
        cpus_per_replica: CPUs that Ray reserves for a replica; null shares the cluster's.
        evaluate_every: rounds between evaluations of the master; null: as often as takes little.
        checkpoint_every: rounds between checkpoints; null: about once a minute and at the end.
        compression: of what travels: none, which is exact, bf16, int8, int4, or auto, which
            measures the links.
        shards: actors, on as many nodes, among which the master is cut; 1: the coordinator
            keeps it.
        tree: replicas whose pushes are folded on their node before the coordinator gets them, such
            as all of a node; null: it gets each.
        execution: how a step is computed, which does not change the algorithm.
        name: of the run; the same name and storage_path again resume it. null makes a new one.
        storage_path: folder of all runs, or a URI such as s3://bucket/runs; a folder must be one
            that all nodes share.
        max_failures: replicas that may be lost and replaced; null is no limit.
        seed: of the first parameters, the data order and the augmentation.
        address: of the Ray cluster, host:port; null joins the one around, or starts one here.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    strategy: Strategy = field(default_factory=Parle)
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = field(default_factory=InnerOptimizer)
    lr_schedule: Literal["cosine", "constant", "steps"] = "cosine"
    num_replicas: int = 3
    min_replicas: int | None = None
    num_rounds: int | None = None
    num_epochs: int | None = None
    gpus_per_replica: float = 0.0
    cpus_per_replica: float | None = None
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    compression: Literal["none", "bf16", "int8", "int4", "auto"] = "none"
    shards: int = 1
    tree: int | None = None
    execution: Execution = field(default_factory=Execution)
    name: str | None = None
    storage_path: str = "~/parle_results"
    max_failures: int | None = None
    seed: int = 0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.num_rounds is None and self.num_epochs is None:
            raise InputError(
                "num_rounds or num_epochs: neither is given; say how long to train, such as "
                "--num_epochs 10"
            )
        if self.num_rounds is not None and self.num_epochs is not None:
            raise InputError(
                f"num_rounds and num_epochs: both are given, {self.num_rounds} and "
                f"{self.num_epochs}; set one of them to null"
            )
        counts = ("num_replicas", "min_replicas", "shards", "tree")
        for name in (*LENGTHS, *counts, "evaluate_every", "checkpoint_every"):
            _at_least(name, getattr(self, name), 1)
        if self.min_replicas is not None and self.min_replicas > self.num_replicas:
            raise InputError(
                f"min_replicas must be <= num_replicas = {self.num_replicas}, "
                f"got {self.min_replicas}"
            )
        for name in ("gpus_per_replica", "cpus_per_replica", "max_failures", "seed"):
            _at_least(name, getattr(self, name), 0)
        if self.gpus_per_replica > 1 and self.gpus_per_replica % 1:
            raise InputError(
                f"gpus_per_replica must be a whole number or below 1, got {self.gpus_per_replica}"
            )
        if 0 < self.gpus_per_replica < self.execution.num_processes > 1:
            raise InputError(
                f"gpus_per_replica must be >= execution.num_processes = "
                f"{self.execution.num_processes}, or 0, got {self.gpus_per_replica:g}; each "
                "process of a replica has a GPU of its own"
            )
        _check_device(self.execution.device)
        if self.name is not None:
            check_name(self.name)


def to_dict(value: Any) -> Any:
    """A configuration as YAML has it: classes chosen by name as `class_path` and `init_args`."""
    if isinstance(value, InnerOptimizer):
        return {"class_path": value.class_path, "init_args": to_dict(dict(value.init_args))}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Strategy | Schedule):
            kind = type(value)
            return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": fields}
        return fields
    if isinstance(value, Mapping):
        return {key: to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    return value


def _at_least(name: str, value: float | None, smallest: int) -> None:
    if value is not None and not value >= smallest:
        raise InputError(f"{name} must be >= {smallest}, got {value}")


def _check_device(name: str | None) -> None:
    try:
        torch.device(name or "cpu")
    except RuntimeError as error:
        raise InputError(
            f"execution.device must be 'cpu', 'cuda' or 'cuda:1', got {name!r}; null takes the GPU "
            "that a replica is given"
        ) from error
