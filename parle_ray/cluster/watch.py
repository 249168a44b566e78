"""Notices a coordinator that hangs, or a shard that it waits for, and ends what Ray cannot end."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError

from parle_ray.cluster.losses import Hangs
from parle_ray.cluster.undertaker import end
from parle_ray.membership.patience import REMEMBERED

ANSWER_S = 10.0
"""The coordinator may leave a question unanswered for so long, or for a usual round;"""
FIRST_ANSWER_S = 60.0
"""for so long while it builds the model, and until the first round is reported."""
STUCK_S = 20.0
"""Its rounds may not come by for so long,"""
STUCK_ROUNDS = 5.0
"""or for so many usual rounds."""
ASK_S = 2.0
"""How long nothing is reported before it is asked."""
LOOK_S = 1.0
"""Between two looks no more than this counts: the driver itself may have stood still."""
START_S = 180.0
"""How long actors may take to begin, and to say which process they are."""


class Pulse:
    """When to ask a coordinator whether it is there, and when to take it for hung.

    It is told the time, and looks at no clock. How long rounds may stand still is not decided
    before one was reported.
    """

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=REMEMBERED)
        self._heard = 0.0
        self._asked: float | None = None

    def begins(self, now: float) -> None:
        """Another coordinator takes over; how long rounds take is known from the last one."""
        self._heard, self._asked = now, None

    def reported(self, now: float, round_s: float | None) -> None:
        """Something was reported; a round took `round_s` if it was one."""
        self._heard, self._asked = now, None
        if round_s is not None:
            self._took.append(round_s)

    def asks(self, now: float) -> bool:
        """Whether it is time for a question; from here on it counts as asked."""
        if self._asked is not None or now - self._heard < ASK_S:
            return False
        self._asked = now
        return True

    def answered(self, now: float, idle_s: float) -> str | None:
        """It answers, and its rounds have not come by for `idle_s`; what is wrong, if anything."""
        self._heard, self._asked = now, None
        if not self._took or idle_s <= max(STUCK_S, STUCK_ROUNDS * median(self._took)):
            return None
        return f"its rounds have stood still for {idle_s:.0f} s"

    def silent(self, now: float) -> str | None:
        """No answer has come so far; what is wrong, if anything."""
        answer_s = max(ANSWER_S, median(self._took)) if self._took else FIRST_ANSWER_S
        if self._asked is None or now - self._asked <= answer_s:
            return None
        return f"it has not answered for {now - self._asked:.0f} s"


class Watch:
    """Over a coordinator and the shards of its master.

    Args:
        clock: seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._pulse = clock, Pulse()
        self._looked_at, self._awake_s = clock(), 0.0
        self._actors: Sequence[Any] = ()
        self._places: list[tuple[str, int]] = []
        self._answer: ray.ObjectRef | None = None

    def begin(self, coordinator: Any, shards: Sequence[Any]) -> None:
        """They have been hired; before anything else they are asked where they run.

        Raises:
            RayError: one of them is lost.
        """
        self._actors = [coordinator, *shards]
        where = [actor.__ray_call__.remote(_where) for actor in self._actors]
        self._places = ray.get(where, timeout=START_S)
        self._pulse.begins(self._now())
        self._answer = None

    def over(self, call: ray.ObjectRef) -> Any:
        """What a call of the coordinator returns.

        Raises:
            RayError: it is lost, or hangs.
        """
        while not ray.wait([call], timeout=LOOK_S)[0]:
            self.look({})
        return ray.get(call)

    def look(self, report: Mapping[str, Any]) -> None:
        """To be called again and again, with what was reported meanwhile.

        Raises:
            Hangs: the processes have been ended, and are to be replaced.
        """
        now = self._now()
        if report:
            self._pulse.reported(now, report.get("round_s"))
            self._answer = None
        elif self._answer is not None:
            self._judge(now)
        elif self._pulse.asks(now):
            self._answer = self._actors[0].ping.remote()

    def _now(self) -> float:
        """Seconds in which the driver was awake."""
        before, self._looked_at = self._looked_at, self._clock()
        self._awake_s += min(LOOK_S, self._looked_at - before)
        return self._awake_s

    def _judge(self, now: float) -> None:
        assert self._answer is not None
        wrong = self._pulse.silent(now)
        if ray.wait([self._answer], timeout=0)[0]:
            try:
                wrong = self._pulse.answered(now, ray.get(self._answer))
                self._answer = None
            except ActorUnavailableError:  # the question was lost, not the coordinator
                self._answer = self._actors[0].ping.remote()
        if wrong:
            for node, pid in self._places:
                end(node, pid)
            raise Hangs(wrong)


def _where(actor: Any) -> tuple[str, int]:
    return ray.get_runtime_context().get_node_id(), os.getpid()
