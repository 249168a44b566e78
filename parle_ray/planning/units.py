"""The speed of a link as people write it."""

import math
import re

from parle_ray.errors import InputError

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_FORM = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kKmMgGtT]?)(bit/s|bps|b/s|B/s)\s*")


def bytes_per_s(text: str) -> float:
    """The speed of a link in bytes per second; a small b is a bit.

    >>> bytes_per_s("1Gbit/s"), bytes_per_s("100 Mbps"), bytes_per_s("2.5GB/s")
    (125000000.0, 12500000.0, 2500000000.0)

    Raises:
        InputError: it is no such speed, or none above zero.
    """
    found = _FORM.fullmatch(text)
    try:
        value = float(found[1]) if found else 0.0
    except ValueError:  # two decimal points
        value = 0.0
    if found is None or not 0.0 < value < math.inf:
        raise InputError(
            f"link must be a speed > 0, got {text!r}; write it as 100Mbit/s, 25Gbit/s or 3GB/s"
        )
    return value * _PREFIXES[found[2].lower()] / (1.0 if found[3] == "B/s" else 8.0)
