"""The command line of a comparison, read into its setup."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jobs.comparison.budget import Budget, scaled_rounds
from jobs.comparison.cases import Setup
from jobs.comparison.methods import METHODS
from parle_ray.console.arguments import make_parser
from parle_ray.console.arguments import read as read_config
from parle_ray.console.config import Config, InnerOptimizer, to_dict
from parle_ray.console.parser import Parser, positive
from parle_ray.console.recipe import make_recipe
from parle_ray.errors import InputError, nearest
from parle_ray.strategies import Parle

PROG = "python -m jobs.compare"
CONFIGS = Path(__file__).parents[1] / "configs"
FACTORS = (0.1, 0.3, 1.0, 3.0)
"""The learning rates that are tried, as multiples of the configuration's."""
QUICK_FACTORS = (0.3, 1.0)
QUICK = ("ray_train_ddp", "parle", "local_sgd")
QUICK_SCALE = 0.4
QUICK_REPLICAS = 2
HELD_OUT = 0.2
"""The part of the training set on which candidates are scored; see `most_held_out` of a set."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line asks for.

    Attributes:
        setup: what all runs share.
        methods: those that are compared.
        seeds: how many.
        out: folder of the results.
        report: make the tables and pictures of what is there, run nothing.
        lr: the learning rate of all methods; None searches one for each.
    """

    setup: Setup
    methods: tuple[str, ...]
    seeds: int
    out: Path
    report: bool
    lr: float | None = None

    @property
    def shared(self) -> dict[str, Any]:
        """What all runs in a folder must have in common, as JSON has it."""
        setup = self.setup
        own = ("name", "storage_path", "address", "seed", "strategy")
        config = {k: v for k, v in to_dict(setup.config).items() if k not in own}
        return {
            "config": config,
            "num_replicas": setup.budget.num_replicas,
            "steps": setup.budget.steps,
            "held_out": setup.held_out,
            "evaluations": setup.evaluations,
        }


def read(argv: Sequence[str], description: str) -> Settings:
    """The settings; loads the data once, to know how long a pass is.

    Raises:
        InputError: names the argument and the way out.
    """
    given = _parse(argv, description)
    methods = _methods(given.methods or (",".join(QUICK) if given.quick else ",".join(METHODS)))
    scale = given.scale if given.scale is not None else (QUICK_SCALE if given.quick else 1.0)
    name = "digits" if given.quick and given.data is None else given.data or "digits"
    config = configuration(name)
    n = given.num_replicas or (QUICK_REPLICAS if given.quick else config.num_replicas)
    config = replace(config, num_replicas=n)
    default = f"compare_{name}_{scale:g}" + ("_quick" if given.quick else "")
    return Settings(
        setup=make_setup(config, scale, quick=given.quick),
        methods=methods,
        seeds=given.seeds or (1 if given.quick else 3),
        out=given.out or Path("bench_results") / default,
        report=given.report,
        lr=given.lr,
    )


def read_varied(argv: Sequence[str], description: str) -> Settings:
    """The settings of `jobs.sensitivity`: Parle alone, at the configuration's learning rate.

    Raises:
        InputError: names the argument and the way out.
    """
    given = _common(Parser("python -m jobs.sensitivity", description, {})).read(argv)
    name, scale = given.data or "digits", given.scale if given.scale is not None else 1.0
    config = configuration(name)
    config = replace(config, num_replicas=given.num_replicas or config.num_replicas)
    return Settings(
        setup=make_setup(config, scale, quick=False),
        methods=("parle",),
        seeds=given.seeds or 3,
        out=given.out or Path("bench_results") / f"sensitivity_{name}_{scale:g}",
        report=given.report,
    )


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
    config, _ = read_config(make_parser(PROG, ""), ["--config", str(path)])
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


def _methods(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in METHODS:
            hint = nearest(name, METHODS) or f" There are: {', '.join(METHODS)}."
            raise InputError(f"--methods: there is no method {name!r}.{hint}")
    return names


def _parse(argv: Sequence[str], description: str) -> argparse.Namespace:
    titles = {name: method.title for name, method in METHODS.items()}
    parser = Parser(PROG, description, titles)
    parser.add_argument("--methods", help="their names, with commas; all if not given")
    parser.add_argument("--lr", type=_number, help="of all methods: search none")
    parser.add_argument("--quick", action="store_true", help="minutes: three methods, one seed")
    return _common(parser).read(argv)


def _common(parser: Parser) -> Parser:
    parser.add_argument(
        "--data", help="a YAML in jobs/configs: digits (default), fashion_mnist, bytes_lm"
    )
    parser.add_argument("--seeds", type=positive, help="how many: 3, or 1 with --quick")
    parser.add_argument("--scale", type=_number, help="part of the configuration's length: 1")
    parser.add_argument("--num_replicas", type=positive, help="n, if not the configuration's")
    parser.add_argument("--out", type=Path, help="folder; what is there is not run again")
    parser.add_argument("--report", action="store_true", help="report what is there, run nothing")
    return parser


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number > 0, got {text!r}") from None
