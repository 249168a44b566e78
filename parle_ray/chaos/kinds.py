"""The faults, by name. Each is a function that is run inside the process that it strikes.

So it meets the process wherever it happens to be: in a step, in a push, with a master on its way.
What strikes the user's code or a push waits there for the next one, and leaves a mark when it has.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

MARK = "struck_by_chaos"
"""The attribute of an actor that counts the faults which waited there and have struck."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        does: what happens, for people.
        strike: `(actor, fault) -> None`, run in the actor's process.
        role: of the actor that it strikes.
        waits: it strikes later than it is sent (see `MARK`).
        ends: the process does not survive it.
    """

    does: str
    strike: Callable[[Any, Any], None]
    role: str = "replica"
    waits: bool = False
    ends: bool = False


class Mishap(Exception):
    """What the user's loss function raises in the fault `raise`."""


def _kill(actor: Any, fault: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault(actor: Any, fault: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _stop(actor: Any, fault: Any) -> None:
    """Nobody can wake itself: a shell does, unless the process was replaced meanwhile."""
    wake = f"sleep {fault.seconds}; kill -CONT {os.getpid()}"
    subprocess.Popen(["sh", "-c", wake], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise(replica: Any, fault: Any) -> None:
    def mishap(loss: Tensor) -> Tensor:
        # Each says something else, as one that is raised a second time ends the run.
        raise Mishap(f"after round {fault.round}, process {os.getpid()}")

    _spoil_loss(replica, mishap)


def _nan(replica: Any, fault: Any) -> None:
    _spoil_loss(replica, lambda loss: loss * float("nan"))


def _spoil_loss(replica: Any, spoil: Callable[[Tensor], Tensor]) -> None:
    learner = replica._learner
    task = learner._task

    def loss_fn(module: nn.Module, batch: Any) -> Tensor:
        learner._task = task
        _mark(replica)
        return spoil(task.loss_fn(module, batch))

    learner._task = replace(task, loss_fn=loss_fn)


def _corrupt(replica: Any, fault: Any) -> None:
    own = replica._own

    def cut_short(round: int, push: Any) -> np.ndarray[Any, Any] | None:
        array: np.ndarray[Any, Any] | None = own(round, push)
        if array is None:
            return None
        del replica._own
        _mark(replica)
        return array[:-1]

    replica._own = cut_short


def _mark(actor: Any) -> None:
    setattr(actor, MARK, marks(actor) + 1)


def marks(actor: Any) -> int:
    """How many faults have waited in this actor and struck."""
    return getattr(actor, MARK, 0)


def at_work(actor: Any, role: str) -> bool:
    """Whether this actor is past its start, so that a fault strikes a run and not its beginning."""
    if role == "replica":
        return hasattr(getattr(actor, "_learner", None), "_replica")
    return role != "coordinator" or hasattr(actor, "_exchange")


KINDS: dict[str, Kind] = {
    "kill": Kind("a replica is killed (SIGKILL)", _kill, ends=True),
    "segfault": Kind("a replica crashes (SIGSEGV)", _segfault, ends=True),
    "stop": Kind("a replica stands still for some seconds (SIGSTOP)", _stop),
    "raise": Kind("loss_fn raises in a replica", _raise, waits=True, ends=True),
    "nan": Kind("loss_fn returns NaN in a replica", _nan, waits=True),
    "corrupt": Kind("a push is one element short", _corrupt, waits=True),
    "kill_coordinator": Kind(
        "the coordinator is killed (SIGKILL)", _kill, role="coordinator", ends=True
    ),
    "kill_evaluator": Kind("the evaluator is killed (SIGKILL)", _kill, role="evaluator", ends=True),
}
