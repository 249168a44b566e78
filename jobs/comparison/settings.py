"""The command line of a comparison, read into its setup."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.comparison.cases import Setup
from jobs.comparison.methods import METHODS
from jobs.comparison.tasks import configuration, make_setup
from parle_ray.console.config import to_dict
from parle_ray.console.parser import Parser, positive
from parle_ray.errors import InputError, nearest

PROG = "python -m jobs.compare"
QUICK = ("ray_train_ddp", "parle", "local_sgd")
QUICK_SCALE = 0.4
QUICK_REPLICAS = 2


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
        lengths: of the runs of each method, as parts of the budget; 1 is among them.
        search_length: of the candidates' runs.
    """

    setup: Setup
    methods: tuple[str, ...]
    seeds: int
    out: Path
    report: bool
    lr: float | None = None
    lengths: tuple[float, ...] = (1.0,)
    search_length: float = 1.0

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
    setup = make_setup(config, scale, quick=given.quick)
    return Settings(
        setup=replace(setup, evaluations=given.evaluations or setup.evaluations),
        methods=methods,
        seeds=given.seeds or (1 if given.quick else 3),
        out=given.out or Path("bench_results") / default,
        report=given.report,
        lr=given.lr,
        lengths=_lengths(given.lengths or ""),
        search_length=_length("--search_length", given.search_length or "1"),
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


def _methods(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in METHODS:
            hint = nearest(name, METHODS) or f" There are: {', '.join(METHODS)}."
            raise InputError(f"--methods: there is no method {name!r}.{hint}")
    return names


def _lengths(text: str) -> tuple[float, ...]:
    shorter = {_length("--lengths", part) for part in text.split(",") if part}
    return tuple(sorted(shorter | {1.0}))


def _length(name: str, text: str) -> float:
    try:
        length = float(text)
    except ValueError:
        length = 0.0
    if not 0.0 < length <= 1.0:
        raise InputError(
            f"{name}: a part of the budget is > 0 and <= 1, got {text!r}; write {name} 0.5"
        )
    return length


def _parse(argv: Sequence[str], description: str) -> argparse.Namespace:
    titles = {name: method.title for name, method in METHODS.items()}
    parser = Parser(PROG, description, titles)
    parser.add_argument("--methods", help="their names, with commas; all if not given")
    parser.add_argument("--lr", type=_number, help="of all methods: search none")
    parser.add_argument("--lengths", help="also make runs of these parts of the budget: 0.25,0.5")
    parser.add_argument("--search_length", help="of the search's runs, a part of the budget: 1")
    parser.add_argument(
        "--evaluations",
        type=positive,
        help="of each run, about: 12; with 1 none of ours takes the cores while it is timed",
    )
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
