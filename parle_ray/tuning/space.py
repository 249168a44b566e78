"""What a search varies, as it is written: `strategy.rho=loguniform(1, 16)`."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray import tune

from parle_ray.errors import InputError, nearest

KINDS: dict[str, Callable[..., Any]] = {
    "choice": lambda *values: tune.choice(list(values)),
    "grid": lambda *values: tune.grid_search(list(values)),
    "loguniform": tune.loguniform,
    "randint": tune.randint,
    "uniform": tune.uniform,
}
"""Name -> what makes the domain: `grid` tries each value, the others draw."""

WRITTEN = re.compile(r"([A-Za-z_][\w.]*)=(\w+)\((.*)\)", re.DOTALL)
EXAMPLE = "write NAME=KIND(VALUES), such as strategy.rho=loguniform(1, 16)"


def parse(texts: Sequence[str]) -> dict[str, Any]:
    """Name of a value of the configuration -> Tune's domain for it.

    Raises:
        InputError: names what cannot be read.
    """
    space: dict[str, Any] = {}
    for text in texts:
        written = WRITTEN.fullmatch(text.strip())
        if written is None:
            raise InputError(f"--vary {text!r}: {EXAMPLE}")
        name, kind, values = written.groups()
        if kind not in KINDS:
            kinds = ", ".join(KINDS)
            raise InputError(
                f"--vary {text!r}: there is no {kind!r}.{nearest(kind, KINDS)} There are {kinds}"
            )
        if name in space:
            raise InputError(f"--vary {name}: given twice; give all its values in one")
        try:
            space[name] = KINDS[kind](*ast.literal_eval(f"({values},)"))
        except (SyntaxError, TypeError, ValueError) as error:
            raise InputError(f"--vary {text!r}: {error}; {EXAMPLE}") from error
    return space


def sample(space: Mapping[str, Any]) -> dict[str, Any]:
    """Some values of it, to try whether a run can be made of them."""
    return {
        name: domain["grid_search"][0] if isinstance(domain, dict) else domain.sample()
        for name, domain in space.items()
    }
