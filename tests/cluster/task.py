"""A small task with everything that makes exactness hard: shuffling, dropout, batch-norm.

The functions are nested, so that they reach the replicas by value, as a notebook's would.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from parle_ray import ParleTrainer
from parle_ray.membership.patience import Patience
from tests.problems import PATIENT

NUM_ROUNDS = 8


def patient(trainer: ParleTrainer, patience: Patience = PATIENT) -> ParleTrainer:
    """The trainer, whose rounds wait for so long."""
    trainer._task = replace(trainer._task, patience=patience)
    return trainer


def data() -> tuple[Tensor, Tensor]:
    """256 points in R^10, in three classes that a linear map separates."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 10, generator=generator)
    return x, (x @ torch.randn(10, 3, generator=generator)).argmax(1)


class Slow:
    """Batches that take ten times the work of a step to arrive."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            for _ in range(20):
                torch.ones(300, 300).matmul(torch.ones(300, 300))
            yield batch


def arguments() -> dict[str, Any]:
    """The arguments that `ParleTrainer` and `simulate` share, without the strategy."""
    x, labels = data()

    def model_fn() -> nn.Module:
        return nn.Sequential(
            nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)
        )

    def loss_fn(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    def batches_fn(rank: int, num_replicas: int) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(x, labels), batch_size=32, shuffle=True)

    def inner_optimizer_fn(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def lr_scheduler_fn(inner: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.CosineAnnealingLR(inner, T_max=NUM_ROUNDS)

    def evaluate_fn(module: nn.Module) -> dict[str, float]:
        return {"accuracy": (module(x).argmax(1) == labels).float().mean().item()}

    return {
        "model_fn": model_fn,
        "loss_fn": loss_fn,
        "batches_fn": batches_fn,
        "inner_optimizer_fn": inner_optimizer_fn,
        "lr_scheduler_fn": lr_scheduler_fn,
        "evaluate_fn": evaluate_fn,
        "num_rounds": NUM_ROUNDS,
    }
