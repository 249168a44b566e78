"""Command lines of a few arguments: a mistake is one `InputError` that names the nearest."""

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn

from parle_ray.errors import InputError, nearest


class Parser(argparse.ArgumentParser):
    """A parser whose help lists what can be named.

    Args:
        prog: how it is called.
        description: what it does.
        titles: what can be named -> what it is.
    """

    def __init__(
        self, prog: str, description: str, titles: Mapping[str, str] | None = None
    ) -> None:
        width = max(map(len, titles), default=0) if titles else 0
        lines = [f"  {name:<{width}} {title}" for name, title in (titles or {}).items()]
        super().__init__(
            prog=prog,
            description="\n".join([description, *lines]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise InputError(message)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments.

        Raises:
            InputError: names the argument and the nearest that there is.
        """
        given, rest = self.parse_known_args(argv)
        if rest:
            help_, *options = [a.option_strings[-1] for a in self._actions if a.option_strings]
            options.append(help_)
            hint = nearest(rest[0], options) or f" There are: {', '.join(options)}."
            raise InputError(f"{rest[0]}: there is no such argument.{hint}")
        return given


def positive(text: str) -> int:
    """The type of an argument that counts something."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, got {text!r}")
    return int(text)
