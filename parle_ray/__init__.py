"""Parle: parallelizing stochastic gradient descent, on Ray.

The public names are imported when they are first used, so that a replica, which needs neither
the trainer nor Ray Train, starts without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parle_ray.execution import Execution
    from parle_ray.optim import ReplicaOptimizer
    from parle_ray.simulate import simulate
    from parle_ray.trainer import ParleTrainer

__all__ = ["Execution", "ParleTrainer", "ReplicaOptimizer", "simulate"]

_HOME = {
    "Execution": "execution",
    "ParleTrainer": "trainer",
    "ReplicaOptimizer": "optim",
    "simulate": "simulate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'parle_ray' has no attribute {name!r}")
    return getattr(import_module(f"parle_ray.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
