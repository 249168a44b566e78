"""What Ray says of a failure, in the words of this project."""

import traceback
from typing import Any, NoReturn

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from parle_ray.errors import InputError, UserCodeError
from parle_ray.team.base import TeamBroken


class Hangs(RayError):
    """An actor that is there and does nothing; the message is a clause."""


class MateLost(RayError):
    """A process of a replica is lost, beside the one that says so; the message is a clause."""


ENDED = (RayActorError, OutOfMemoryError, WorkerCrashedError, NodeDiedError)
"""What Ray raises where an actor's process has ended: not all of it is a `RayActorError`."""


REPEATS = 3
"""How often Ray repeats a call that was lost on its way, of a method that may be called twice."""


def cause_of(error: BaseException) -> BaseException:
    """What a task or an actor's method raised, however many others handed it on."""
    cause: Any = error
    while isinstance(cause, RayTaskError) and isinstance(cause.cause, BaseException):
        cause = cause.cause
    return cause


def reason_of(error: BaseException) -> str | UserCodeError:
    """Why a replica that answers with this error is lost.

    Raises:
        BaseException: the error itself, if it is no replica's loss.
    """
    cause = cause_of(error)
    if isinstance(cause, UserCodeError):
        return cause
    if isinstance(cause, (*ENDED, ObjectLostError, MateLost)):
        return why_lost(cause)
    raise cause


def why_lost(error: BaseException) -> str:
    """What Ray knows of the end of an actor, in a clause."""
    text = str(error)
    if isinstance(error, Hangs | MateLost):
        return text
    if "running low on memory" in text or "OUT_OF_MEMORY" in text:
        return "Ray ended it as its node was running out of memory"
    if "node has died" in text:
        return "its node died"
    if "with an exit code" in text:
        code = text.split("with an exit code")[1].split(".")[0].strip()
        return f"its process ended with exit code {code}"
    return "its process died"


def explain(who: str, when: str, error: Exception) -> NoReturn:
    """Say what went wrong in a replica in a form that survives the way to the driver."""
    if isinstance(error, InputError | UserCodeError | RayError | TeamBroken):
        raise error
    raise UserCodeError(
        f"{who}, {when}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
    ) from None
