"""Commands with arguments of their own beside train's."""

import argparse
import sys
from collections.abc import Sequence

from parle_ray.console.arguments import make_parser, read, to_yaml
from parle_ray.console.config import Config
from parle_ray.errors import InputError


def parser(prog: str, description: str | None, epilog: str = "") -> argparse.ArgumentParser:
    """A parser for them, to be given to `split`."""
    return argparse.ArgumentParser(
        prog=f"{prog} [TRAIN'S ARGUMENTS]",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )


def split(
    own: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, Config, list[str]] | None:
    """The command's own arguments, the configuration, and the arguments that it was read from;
    None if help or the configuration was asked for, and has been printed.

    Raises:
        InputError: one line that names the argument and the way out.
    """
    try:
        asked, rest = own.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from error
    if {"-h", "--help"} & set(rest):
        print(own.format_help())
        return None
    config, only_print = read(make_parser(own.prog, ""), rest)
    if only_print:
        sys.stdout.write(to_yaml(config))
        return None
    return asked, config, rest
