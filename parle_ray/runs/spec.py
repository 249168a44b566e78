"""What a run was made with: stored in its checkpoints, and held against what it goes on with."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch

from parle_ray.errors import printable
from parle_ray.execution import Execution
from parle_ray.task import Task

APART = {"name", "storage_path", "address", "max_failures", "checkpoint_every", "evaluate_every"}
APART |= {"shards", "cpus_per_replica", "gpus_per_replica"}
"""Settings on which no bit of a run depends, or by way of `machine` alone."""

UNSAID = {f"execution.{name}": value for name, value in asdict(Execution()).items()}
UNSAID |= {"strategy.weighting": "replicas", "strategy.uneven": False}
"""Settings that checkpoints of older releases may lack: they were made with these values."""


def settings(task: Task) -> dict[str, Any]:
    """The arguments of a run that can be written down."""
    strategy = task.strategy
    return {
        "strategy": {"class": type(strategy).__name__}
        | {f.name: _plain(getattr(strategy, f.name)) for f in fields(strategy)},
        "num_replicas": task.num_replicas,
        "num_rounds": task.num_rounds,
        "num_epochs": task.num_epochs,
        "seed": task.seed,
        "compression": task.compression,
        "tree": task.tree,
        "execution": asdict(task.execution),
    }


def spec(task: Task, config: Mapping[str, Any], resources: Mapping[str, float]) -> dict[str, Any]:
    """All on which the bits of a run depend, as far as it can be told, under dotted names.

    Args:
        config: what the user says of the functions, such as the command line's configuration.
        resources: of one replica.
    """
    known = settings(task)
    own = {k: v for k, v in config.items() if k not in APART | known.keys()}
    cpus = int(resources.get("CPU", 1)) // task.execution.num_processes
    machine = {
        "device": task.execution.device or ("cuda" if resources.get("GPU") else "cpu"),
        "threads": task.execution.num_threads or max(1, cpus),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
    return dict(dotted(known | own | {"machine": machine}))


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two specs, one line each.

    >>> changes({"seed": 0, "strategy.rho": 4.0}, {"seed": 0, "strategy.rho": 1.0})
    ['strategy.rho was 4.0, is 1.0']
    """
    both = sorted(was.keys() | now.keys())
    pairs = [(name, was.get(name, UNSAID.get(name)), now.get(name)) for name in both]
    return [
        f"{printable(name)} was {printable(before)}, is {printable(after)}"
        for name, before, after in pairs
        if before != after
    ]


def dotted(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single setting of a tree of mappings, under the path to it, as `data.batch_size`."""
    if not isinstance(tree, Mapping):
        yield path, _plain(tree)
        return
    for key, value in tree.items():
        yield from dotted(value, f"{path}.{key}" if path else str(key))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # an address differs every time
