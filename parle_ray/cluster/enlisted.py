"""A replica as the driver hands it to a coordinator."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Enlisted:
    """A replica that has been set up.

    Attributes:
        node: where it runs.
        answers: rounds that it has walked, and whose answers it can give again.
    """

    actor: Any
    node: str
    answers: tuple[int, ...] = ()
