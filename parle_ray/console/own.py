"""Commands with arguments of their own beside train's."""

import argparse
import sys
from collections.abc import Sequence

from parle_ray.console.arguments import make_parser, read, to_yaml
from parle_ray.console.config import Config
from parle_ray.console.parser import Parser


def split(own: Parser, argv: Sequence[str]) -> tuple[argparse.Namespace, Config, list[str]] | None:
    """The command's own arguments, the configuration, and the arguments that it was read from;
    None if the configuration was asked for, and has been printed.

    Raises:
        InputError: one line that names the argument and the way out.
    """
    asked, rest = own.parse_known_args(list(argv))
    config, only_print = read(make_parser(own.prog, ""), rest)
    if only_print:
        sys.stdout.write(to_yaml(config))
        return None
    return asked, config, rest
