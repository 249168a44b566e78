"""Strikes a run with faults while it goes on, from a thread of the driver."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.train import UserCallback

from parle_ray.chaos.kinds import KINDS, at_work, marks
from parle_ray.chaos.schedule import Fault
from parle_ray.chaos.verdict import Seen, Struck
from parle_ray.cluster.hiring import NAMESPACE
from parle_ray.cluster.losses import ENDED

PATIENCE_S = 30.0
"""How long the code that a fault waits for may take to come by, or a process to end of one."""
ANSWER_S = 10.0
PING_S = 1.0
"""How long a target may take to say that it is at work; else another is struck before it."""
LOOK_S = 0.05
DOOR = "_ray_system"
"""The thread that Ray gives every actor for itself: a busy actor can be struck too."""


class Injector(UserCallback):
    """A callback for `RunConfig(callbacks=[...])`: follows the reports and strikes when it is time.

    Only a fault that is known to have happened counts as one: a process that died of it, code that
    has run into it.

    Args:
        faults: more may be added before the run begins.
        run: its name; None: the only one on the cluster, else none is struck.
        renew: starts a node in place of one that a fault has taken, in a thread of its own.

    Attributes:
        seen: what was reported when.
        struck: the faults of which it is known what became of them, in order.
    """

    def __init__(
        self,
        faults: Sequence[Fault] = (),
        run: str | None = None,
        renew: Callable[[], object] = lambda: None,
    ) -> None:
        self.faults, self.run, self._renew = list(faults), run, renew
        self._driver = _Driver()
        self._sent = 0.0, 0
        self.seen: list[Seen] = []
        self.struck: list[Struck] = []
        self._news = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._work, name="chaos", daemon=True)

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """A round was closed."""
        (report,) = metrics
        told = {name.split("/")[1] for name in report if name.startswith("replica/")}
        with self._news:
            ranks = frozenset(int(rank) for rank in told)
            self.seen.append(Seen(time.monotonic(), report["round"], ranks))
            self._over = self._over or report["round"] == report["num_rounds"]
            self._news.notify_all()
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """The run is over, however it ended."""
        with self._news:
            self._over = True
            self._news.notify_all()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S + ANSWER_S)

    def _work(self) -> None:
        """The first of the faults that are due whose target is at work, again and again."""
        pending = sorted(self.faults, key=lambda fault: fault.round)
        while pending:
            self._wait(lambda: self.seen[-1].round >= pending[0].round)
            due = [fault for fault in pending if fault.round <= self.seen[-1].round]
            for fault in pending if self._over else due:
                why_not = "the run was over" if self._over else self._strike(fault)
                if why_not is not None:
                    self._struck(fault, why_not)
                    pending.remove(fault)
                    break
            else:
                self._wait(lambda: False, LOOK_S)

    def _struck(self, fault: Fault, why_not: str) -> None:
        self.struck.append(Struck(fault, *self._sent, why_not))

    def _sends(self) -> None:
        self._sent = time.monotonic(), self.seen[-1].round

    def _strike(self, fault: Fault) -> str | None:
        """None if there is no target at work; else why it did not happen, or an empty string."""
        kind, sent = KINDS[fault.kind], False
        self._sends()
        try:
            actor = self._actor(fault.role)
            if not _inside(actor, at_work, kind.node, timeout=PING_S):
                return None
            before, sent = _inside(actor, marks), True
            self._sends()
            patience_s = PATIENCE_S if kind.ends else ANSWER_S
            _inside(actor, kind.strike, fault, timeout=patience_s + fault.seconds)
            if kind.node:
                threading.Thread(target=self._renew, name="renew", daemon=True).start()
            return self._wait_for_mark(actor, before) if kind.waits else ""
        except ENDED:
            # Of what waits in a process that is lost by something else, nothing has happened.
            return "" if sent and kind.ends else None
        except (GetTimeoutError, LookupError):
            return "no answer" if sent else None

    def _wait_for_mark(self, actor: Any, before: int) -> str:
        end = time.monotonic() + PATIENCE_S
        while not self._over and time.monotonic() < end:
            if _inside(actor, marks) > before:
                self._sends()
                return ""
            self._wait(lambda: False, LOOK_S)
        return f"nothing ran into it for {PATIENCE_S:.0f} s, or until the end of the run"

    def _wait(self, ready: Callable[[], bool], timeout: float | None = None) -> None:
        with self._news:
            self._news.wait_for(lambda: self._over or ready(), timeout)

    def _actor(self, role: str) -> Any:
        if role == "driver":
            return self._driver
        name = f"{self._name()}/{role}"
        try:
            return ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as error:
            raise LookupError(role) from error

    def _name(self) -> str:
        if self.run is None:
            named = ray.util.list_named_actors(all_namespaces=True)
            there = [actor["name"] for actor in named if actor["namespace"] == NAMESPACE]
            runs = sorted({name.rpartition("/")[0] for name in there})
            if len(runs) != 1:
                raise LookupError(f"which of {', '.join(runs) or 'no run'}")
            (self.run,) = runs
        return self.run


class _Driver:
    """This process, beside the actors."""


def _inside(actor: Any, function: Any, *args: Any, timeout: float = ANSWER_S) -> Any:
    """What a function says that is run in the process of an actor, with the actor as argument."""
    if isinstance(actor, _Driver):
        return function(actor, *args)
    call = actor.__ray_call__.options(concurrency_group=DOOR, max_task_retries=0)
    return ray.get(call.remote(function, *args), timeout=timeout)
