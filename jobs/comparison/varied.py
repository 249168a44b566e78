"""Parle with one hyper-parameter moved away from its default, the others left alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jobs.comparison.cases import SEARCH_SEED, Case
from jobs.comparison.methods import Exchange
from parle_ray.schedules import Geometric
from parle_ray.strategies import Parle

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
DEFAULT = Parle()
GRID: dict[str, tuple[float, ...]] = {
    "sync_every": (5, 10, 25, 50, 100),
    "gamma": FACTORS,
    "rho": FACTORS,
    "outer_lr": FACTORS,
    "outer_momentum": (0.0, 0.5, 0.7, 0.8, 0.9),
    "alpha": (0.0, 0.5, 0.75, 0.9, 0.95),
}
"""Field -> its values: numbers of steps, memories, and multiples of the default."""


@dataclass(frozen=True, kw_only=True)
class Varied(Case):
    """A run of Parle, scored on examples held out of the training set.

    Attributes:
        field: the hyper-parameter.
        value: of `GRID`.
    """

    field: str
    value: float
    method: str = "parle"
    search: bool = True

    @property
    def is_default(self) -> bool:
        """Whether nothing is moved."""
        return self.strategy == DEFAULT

    @property
    def key(self) -> str:
        """The name of the run's file; all defaults share one for each seed."""
        moved = "default" if self.is_default else f"{self.field}_{self.value:g}"
        return f"parle_{moved}_lr{self.lr:g}_seed{self.seed}"

    @property
    def how(self) -> Exchange:
        return Exchange(strategy=replace(DEFAULT, **{self.field: _moved(self.field, self.value)}))


def grid(lr: float, seeds: int) -> Iterator[Varied]:
    """All runs, seed by seed.

    Args:
        lr: of the inner optimiser, the same for all.
        seeds: how many.
    """
    for seed in range(seeds):
        for field, values in GRID.items():
            for value in values:
                yield Varied(field=field, value=value, lr=lr, seed=SEARCH_SEED + seed)


def _moved(field: str, value: float) -> Any:
    if field == "sync_every":
        return int(value)
    if field in ("alpha", "outer_momentum"):
        return value
    default = getattr(DEFAULT, field)
    if isinstance(default, Geometric):
        return replace(default, initial=value * default.initial)
    return value * default
