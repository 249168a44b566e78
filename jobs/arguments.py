"""What can be named on the command lines of `jobs`."""

from collections.abc import Sequence

from parle_ray.errors import InputError, nearest


def check_choice(what: str, name: str | None, names: Sequence[str]) -> None:
    """Refuse a name that is missing, or is none of these.

    Raises:
        InputError: names the nearest that there is.
    """
    known = f" There are: {', '.join(names)}."
    if name is None:
        raise InputError(f"name: which {what}?{known}")
    if name not in names:
        raise InputError(f"there is no {what} {name!r}.{nearest(name, names) or known}")
