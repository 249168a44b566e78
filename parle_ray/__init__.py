"""Parle: parallelizing stochastic gradient descent, on Ray.

`ParleTrainer` is imported when it is first used: a replica needs neither it nor Ray Train, and
starts sooner without them.
"""

from typing import TYPE_CHECKING, Any

from parle_ray.execution import Execution
from parle_ray.optim import ReplicaOptimizer
from parle_ray.simulate import simulate

if TYPE_CHECKING:
    from parle_ray.trainer import ParleTrainer

__all__ = ["Execution", "ParleTrainer", "ReplicaOptimizer", "simulate"]


def __getattr__(name: str) -> Any:
    if name == "ParleTrainer":
        from parle_ray.trainer import ParleTrainer

        return ParleTrainer
    raise AttributeError(f"module 'parle_ray' has no attribute {name!r}")
