"""The task of a comparison: a configuration by its name, and what all runs of it share."""

from functools import cache
from pathlib import Path

from jobs.comparison.budget import Budget, scaled_rounds
from jobs.comparison.cases import Setup
from parle_ray.console.arguments import make_parser, read
from parle_ray.console.config import Config, InnerOptimizer
from parle_ray.console.recipe import make_recipe
from parle_ray.errors import InputError, nearest
from parle_ray.strategies import Parle

CONFIGS = Path(__file__).parents[1] / "configs"
FACTORS = (0.1, 0.3, 1.0, 3.0)
"""The learning rates that are tried, as multiples of the configuration's."""
QUICK_FACTORS = (0.3, 1.0)
HELD_OUT = 0.2
"""The part of the training set on which candidates are scored; see `most_held_out` of a set."""


@cache
def configuration(name: str) -> Config:
    """The configuration of this name in `jobs/configs`, read once.

    Raises:
        InputError: there is none, or its strategy is not the paper's.
    """
    path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
        hint = nearest(name, names) or f" There are: {', '.join(names)}."
        raise InputError(f"--data: there is no {path.name} in jobs/configs.{hint}")
    config, _ = read(make_parser("python -m jobs.compare", ""), ["--config", str(path)])
    if not isinstance(config.strategy, Parle):
        raise InputError(
            f"--data {name}: its strategy is {type(config.strategy).__name__}; name a task of "
            "Parle, whose length is the budget of all methods"
        )
    return config


def make_setup(config: Config, scale: float, *, quick: bool) -> Setup:
    """The setup for so much of a configuration's length."""
    recipe = make_recipe(config)
    sync_every = config.strategy.steps(0)
    lr = learning_rate(config)
    factors = QUICK_FACTORS if quick else FACTORS
    return Setup(
        config=config,
        budget=Budget(
            num_replicas=config.num_replicas,
            batch_size=config.data.batch_size,
            steps=scaled_rounds(recipe.planned_rounds, scale) * sync_every,
        ),
        rates=tuple(float(f"{lr * factor:.6g}") for factor in factors),
        held_out=min(recipe.train.most_held_out, int(HELD_OUT * len(recipe.train))),
        evaluations=5 if quick else 12,
    )


def learning_rate(config: Config) -> float:
    """Of the inner optimiser, as configured."""
    assert isinstance(config.optimizer, InnerOptimizer)
    return float(config.optimizer.init_args.get("lr", 0.1))
