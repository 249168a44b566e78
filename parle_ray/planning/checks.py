"""Numbers that a user gives, looked at before anything is computed from them."""

import math

from parle_ray.errors import InputError


def check_whole(name: str, value: object, least: int) -> None:
    """A whole number >= `least`.

    Raises:
        InputError: names the field, the value and the rule.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} must be a whole number, got {value!r}; give it without a point")
    if value < least:
        raise InputError(f"{name} must be >= {least}, got {value}; give a larger one")


def check_number(
    name: str,
    value: object,
    fix: str,
    *,
    positive: bool = True,
    finite: bool = True,
) -> None:
    """A number > 0, or >= 0 if it need not be positive.

    Raises:
        InputError: names the field, the value, the rule and `fix`.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        enough = value > 0 if positive else value >= 0  # False for NaN
        if enough and not (finite and math.isinf(value)):
            return
    rule = f"a number {'>' if positive else '>='} 0{' and finite' if finite else ''}"
    raise InputError(f"{name} must be {rule}, got {value!r}; {fix}")
