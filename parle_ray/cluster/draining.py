"""Nodes that are about to go: Ray is told of them by clouds, autoscalers and `ray drain-node`."""

import time
from collections.abc import Callable
from typing import Any

import ray

LOOK_S = 1.0
"""How often Ray is asked; it takes about a millisecond."""


class Draining:
    """Lets replicas leave such nodes in order, before they are lost with them.

    Args:
        say: takes a line for the user.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._here = ray.get_runtime_context().get_node_id()
        self._looked_at = 0.0
        self._told = False

    def look(self, coordinator: Any) -> None:
        """Ask Ray, if it is time to, and tell the coordinator; it runs beside the driver.

        Where the driver's own node goes, the run goes with it: there is a checkpoint at once, and
        the replicas beside it stay.
        """
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        # Ray Train asks the same; there is no public way that works without the dashboard.
        going = set(ray._private.state.state.get_draining_nodes())
        if self._here in going and not self._told:
            self._told = True
            self._say("this node is being drained: a checkpoint is made, and the run ends with it")
            coordinator.checkpoint.remote()
        if going := going - {self._here}:
            coordinator.leave.remote(going)
