"""The command line and its YAML files, read into a `Config`."""

import dataclasses
import os
import pkgutil
import re
from argparse import ArgumentError
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from parle_ray.console import plain_yaml
from parle_ray.console.complaints import shorten
from parle_ray.console.config import (
    SGD_ARGUMENTS,
    Config,
    InnerOptimizer,
    optimizer_class,
    to_dict,
)
from parle_ray.errors import InputError
from parle_ray.strategies import STRATEGIES

CHOSEN = re.compile(r"strategy(\.init_args\.\w+){0,2}|optimizer")
"""Where a class is chosen by its `class_path`: an algorithm, its schedules and one that such a
schedule follows, the optimiser."""


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
    plain_yaml.install()
    _check_words(argv)
    try:
        given = parser.parse_args(_by_class_name(argv), defaults=False)
        _refuse_code(given)
        _refuse_null(given, kind)
        return given, vars(parser.instantiate(given))
    except InputError:
        raise
    except (
        ArgumentError,
        ArithmeticError,
        AttributeError,
        ImportError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        told = shorten(str(error), kind)
        if isinstance(error, AttributeError) and told == str(error):
            told = f"config: it is not built as a configuration is ({error}); see --print_config"
        raise InputError(told) from error


def to_yaml(config: Config) -> str:
    """The configuration as a file that `--config` reads."""
    return plain_yaml.dump(to_dict(config))


def _check_words(argv: Sequence[str]) -> None:
    """Refuse what would cost too much to be read, before it is."""
    for before, word in pairwise(["", *argv]):
        option, _, value = word.partition("=") if word.startswith("--") else (before, "", word)
        try:
            plain_yaml.check_text(value)
        except plain_yaml.NotPlain as error:
            raise InputError(f"{option}: {error}; give a plain value") from error
        if option == "--config" and os.path.isfile(value):
            size = os.path.getsize(value)
            if size > plain_yaml.LARGEST:
                raise InputError(
                    f"config: {value} has {size:,} bytes, at most {plain_yaml.LARGEST:,} are read; "
                    "name a configuration"
                )


def _refuse_null(given: Namespace, kind: type, prefix: str = "") -> None:
    """jsonargparse takes null for anything; this holds it to the annotations of `kind`."""
    hints = get_type_hints(kind)
    for name, value in vars(given).items():
        hint = hints.get(name)
        if value is None and hint is not None and type(None) not in get_args(hint):
            raise InputError(
                f"{prefix}{name}: must not be null; give a value, or leave it out for its default"
            )
        if isinstance(value, Namespace):
            chosen = pkgutil.resolve_name(value.class_path) if "class_path" in value else hint
            if dataclasses.is_dataclass(chosen) and isinstance(chosen, type):
                _refuse_null(value.get("init_args") or value, chosen, f"{prefix}{name}.")


def _refuse_code(value: Any, path: str = "") -> None:
    """jsonargparse calls whatever a `class_path` names where any callable would do."""
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_code(item, path)
    if isinstance(value, Namespace):
        value = vars(value)
    if not isinstance(value, dict):
        return
    if "class_path" in value and not CHOSEN.fullmatch(path):
        raise InputError(f"{path}: class_path is not read here; give plain values")
    if path == "optimizer" and "class_path" in value:
        optimizer_class(value["class_path"])
    for name, inner in value.items():
        _refuse_code(inner, f"{path}.{name}" if path else str(name))


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
