"""The command line and its YAML files, read into a `Config`."""

import dataclasses
from argparse import ArgumentError
from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from parle_ray.console.complaints import shorten
from parle_ray.console.config import SGD_ARGUMENTS, Config, InnerOptimizer, to_dict
from parle_ray.errors import InputError
from parle_ray.strategies import STRATEGIES


def make_parser(prog: str, description: str) -> ArgumentParser:
    """A parser of all fields of `Config`; its help is their documentation."""
    parser = ArgumentParser(
        prog=prog,
        description=description,
        epilog="--strategy.help Parle and --optimizer.help SGD list the arguments of a class.",
        exit_on_error=False,
        allow_abbrev=False,
        print_config=None,
    )
    parser.add_argument("--config", action="config", help="a YAML file; later arguments win")
    parser.add_argument(
        "--print_config", action="store_true", help="print all settings as YAML, run nothing"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of any error")
    parser.add_class_arguments(Config, as_group=True)
    parser.set_defaults(
        strategy={"class_path": "parle_ray.strategies.Parle"},
        optimizer={"class_path": "torch.optim.SGD"},
    )
    return parser


def read(parser: ArgumentParser, argv: Sequence[str]) -> tuple[Config, bool]:
    """The configuration that `argv` asks for, and whether it is only to be printed.

    Defaults are filled in by the classes themselves, so that another strategy or optimiser does
    not inherit the arguments of the one it replaces.

    Raises:
        InputError: one line that names the argument and the way out.
    """
    given, values = parse(parser, argv, Config)
    if "optimizer" in given:
        values["optimizer"] = _inner_optimizer(given.optimizer)
    only_print = bool(given.get("print_config"))
    if only_print and not {"num_rounds", "num_epochs"} & set(given.keys()):
        given.num_epochs = values["num_epochs"] = 10  # a template shows some length
    names = [field.name for field in dataclasses.fields(Config) if field.name in given]
    return Config(**{name: values[name] for name in names}), only_print


def parse(
    parser: ArgumentParser, argv: Sequence[str], kind: type
) -> tuple[Namespace, dict[str, Any]]:
    """What `argv` gives of a configuration of this kind, as it stands there and made into values.

    Raises:
        InputError: one line that names the argument and the way out.
    """
    try:
        given = parser.parse_args(_by_class_name(argv), defaults=False)
        return given, vars(parser.instantiate(given))
    except InputError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(shorten(str(error), kind)) from error


def to_yaml(config: Config) -> str:
    """The configuration as a file that `--config` reads."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def _inner_optimizer(given: Any) -> InnerOptimizer:
    init_args = given.get("init_args")
    arguments = init_args.as_dict() if init_args else {}
    if given.class_path == "torch.optim.SGD":
        without_momentum = arguments.get("momentum") == 0.0
        arguments = SGD_ARGUMENTS | {"nesterov": not without_momentum} | arguments
    return InnerOptimizer(given.class_path, arguments)


def _by_class_name(argv: Sequence[str]) -> list[str]:
    """`--strategy elastic_sgd` is `--strategy ElasticSGD`."""
    argv = list(argv)
    for i, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option != "--strategy":
            continue
        if equals and value in STRATEGIES:
            argv[i] = f"--strategy={STRATEGIES[value].__name__}"
        elif not equals and i + 1 < len(argv) and argv[i + 1] in STRATEGIES:
            argv[i + 1] = STRATEGIES[argv[i + 1]].__name__
    return argv
