"""What stands for the module in a pipeline, where no process has all of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from parle_ray.errors import InputError
from parle_ray.team.stages import FIELD

UNCALLED = f"{FIELD}: loss_fn must call the module that it is given"


class StandIn(ABC):
    """What `loss_fn` is given for the module: it may call it, with one tensor, and nothing else."""

    training = True

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        given = [*args, *kwargs.values()]
        if len(given) != 1 or not isinstance(given[0], Tensor):
            what = ", ".join(type(value).__name__ for value in given) or "nothing"
            raise InputError(
                f"{FIELD}: loss_fn must call the module with one tensor, which goes through its "
                f"layers; got {what}"
            )
        return self.answer(given[0])

    def __getattr__(self, name: str) -> Any:
        raise InputError(
            f"{FIELD}: loss_fn asks the module for {name!r}; in a pipeline no process has all of "
            "it, and loss_fn may only call it, once"
        )

    @abstractmethod
    def answer(self, x: Tensor) -> Tensor:
        """What the module makes of x."""


class Start(StandIn):
    """In the first process, which wants to know what the module is called with, and no more."""

    def answer(self, x: Tensor) -> Tensor:
        raise Entered(x)


class End(StandIn):
    """In the last process: what the module makes of x comes through the pipeline.

    Args:
        take: the input of the layers that are here.
        forward: what they make of it.
    """

    def __init__(self, take: Callable[[], Tensor], forward: Callable[[Tensor], Tensor]) -> None:
        self._take, self._forward = take, forward
        self._taken: Tensor | None = None

    @property
    def taken(self) -> Tensor:
        """That input, once this has been called."""
        if self._taken is None:
            raise InputError(UNCALLED)
        return self._taken

    def answer(self, x: Tensor) -> Tensor:
        if self._taken is not None:
            raise InputError(
                f"{FIELD}: loss_fn calls the module more than once, and a mini-batch goes through "
                "a pipeline once; call it with all examples together"
            )
        self._taken = self._take()
        return self._forward(self._taken)


class Entered(BaseException):
    """Ends a loss function where it calls the module; one that catches errors lets it pass."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


def entry(loss: Callable[[StandIn], Tensor]) -> Tensor:
    """What a loss function calls its module with."""
    try:
        loss(Start())
    except Entered as call:
        return call.x
    raise InputError(UNCALLED)
