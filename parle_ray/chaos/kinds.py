"""The faults, by name. Each is a function that is run inside the process that it strikes.

So it meets the process wherever it happens to be: in a step, in a push, with a master on its way.
What strikes the user's code or a push waits there for the next one, and leaves a mark when it has.
They reach into a run by `ReplicaActor.learner` and `.memory`, `Coordinator.exchange.master` and the
verbs of `Folder`, and through nothing else.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import ObjectLostError
from torch import Tensor, nn

from parle_ray.chaos.full_disk import fill
from parle_ray.cluster.nodes import is_head
from parle_ray.cluster.wire import form

Walked = tuple[Any, ...]
"""An answer of a replica: what is told, the stretches of its push, its state."""
MARK = "struck_by_chaos"
"""The attribute of an actor that counts the faults which waited there and have struck."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        does: what happens, for people.
        strike: `(actor, fault) -> None`, run in the actor's process.
        role: of the actor that it strikes, or the driver.
        waits: it strikes later than it is sent (see `MARK`).
        ends: the process does not survive it.
        node: it takes a whole node, other than the head's.
    """

    does: str
    strike: Callable[[Any, Any], None]
    role: str = "replica"
    waits: bool = False
    ends: bool = False
    node: bool = False


class Mishap(Exception):
    """What the user's loss function raises in the fault `raise`."""


def _kill(actor: Any, fault: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault(actor: Any, fault: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _remove_node(actor: Any, fault: Any) -> None:
    """Ray's workers are the children of their node's raylet, and follow it."""
    os.kill(os.getppid(), signal.SIGKILL)


def _stop_for_good(actor: Any, fault: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _stop(actor: Any, fault: Any) -> None:
    """Nobody can wake itself: a shell does, once the process stands still."""
    here = f"/proc/{os.getpid()}"
    stands = f"test ! -d {here} || grep -q '^State:.T' {here}/status"
    wake = f"until {stands}; do sleep 0.01; done; sleep {fault.seconds}; kill -CONT {os.getpid()}"
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
    learner = replica.learner
    task = learner.task

    def loss_fn(module: nn.Module, batch: Any) -> Tensor:
        learner.task = task
        _mark(replica)
        return spoil(task.loss_fn(module, batch))

    learner.task = replace(task, loss_fn=loss_fn)


def _corrupt(replica: Any, fault: Any) -> None:
    def cut_short(answer: Walked) -> Walked | None:
        told, *pushes, state = answer
        if pushes[-1] is None:
            return None
        pushes[-1] = pushes[-1][:-1]
        if "form" in told:
            told = told | {"form": form(pushes[0])}
        return told, *pushes, state

    _spoil_answer(replica, cut_short)


def _duplicate(replica: Any, fault: Any) -> None:
    _spoil_answer(replica, lambda answer: replica.memory.again(answer[0]["round"] - 1))


def _spoil_answer(replica: Any, spoil: Callable[[Walked], Walked | None]) -> None:
    """Something else is handed over than the replica remembers, once."""
    memory = replica.memory

    def answer(generation: int, round: int, walked: Walked) -> Walked:
        given: Walked = type(memory).answer(memory, generation, round, walked)
        spoilt = spoil(given)
        if spoilt is None:
            return given
        del memory.answer
        _mark(replica)
        return spoilt

    memory.answer = answer


def _drop(coordinator: Any, fault: Any) -> None:
    master = coordinator.exchange.master

    def take(rank: int, *answer: Any) -> int | None:
        del master.take
        _mark(coordinator)
        raise ObjectLostError(f"the push of replica {rank}", None, "")

    master.take = take


def _disk_full(driver: Any, fault: Any) -> None:
    fill(fault.seconds, lambda: _mark(driver))


def _mark(actor: Any) -> None:
    setattr(actor, MARK, marks(actor) + 1)


def marks(actor: Any) -> int:
    """How many faults have waited in this actor and struck."""
    return getattr(actor, MARK, 0)


def at_work(actor: Any, needs_node: bool) -> bool:
    """Whether this actor is past its start, so that a fault strikes a run and not its beginning.

    Args:
        needs_node: and whether it runs on a node that may go.
    """
    return getattr(actor, "at_work", True) and not (needs_node and is_head())


KINDS: dict[str, Kind] = {
    "kill": Kind("a replica is killed (SIGKILL)", _kill, ends=True),
    "segfault": Kind("a replica crashes (SIGSEGV)", _segfault, ends=True),
    "stop": Kind("a replica stands still for some seconds (SIGSTOP)", _stop),
    "raise": Kind("loss_fn raises in a replica", _raise, waits=True, ends=True),
    "nan": Kind("loss_fn returns NaN in a replica", _nan, waits=True),
    "corrupt": Kind("a push is one element short", _corrupt, waits=True),
    "drop": Kind("a push is lost on its way", _drop, role="coordinator", waits=True),
    "duplicate": Kind("a push comes again in place of the next", _duplicate, waits=True),
    "disk_full": Kind(
        "nothing can be written for some seconds (ENOSPC)", _disk_full, role="driver", waits=True
    ),
    "kill_coordinator": Kind(
        "the coordinator is killed (SIGKILL)", _kill, role="coordinator", ends=True
    ),
    "stop_coordinator": Kind(
        "the coordinator stands still for good (SIGSTOP)",
        _stop_for_good,
        role="coordinator",
        ends=True,
    ),
    "kill_evaluator": Kind("the evaluator is killed (SIGKILL)", _kill, role="evaluator", ends=True),
    "remove_node": Kind(
        "the node of a replica is lost (SIGKILL to its raylet)",
        _remove_node,
        ends=True,
        node=True,
    ),
}
