"""A Ray cluster of several nodes on this machine, of which nodes may be taken away."""

import json
import os
import threading
from types import TracebackType
from typing import Any, Self

import ray
from ray._private.authentication.authentication_token_setup import enable_token_auth_by_default
from ray.cluster_utils import Cluster

from parle_ray.cluster.connect import keep_token_private
from parle_ray.errors import ClusterError

STORE_BYTES = 200 * 2**20
"""Of each node's object store."""
CPUS = 2
"""Of each node but the head: the replicas of a node that is lost find room on others."""
CALL = "CoreWorkerService.grpc_client.PushTask"
QUICKER = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node that is killed is known to be lost after 3 s instead of 15."""


class LocalCluster:
    """Its head, which runs no replica, and the other nodes; this process joins it as the driver.

    Args:
        num_nodes: with the head.
        environment: of all its processes, beside that of this one.

    Raises:
        ClusterError: this process is on another cluster.
    """

    def __init__(self, num_nodes: int, environment: dict[str, str] | None = None) -> None:
        if ray.is_initialized():
            raise ClusterError("nodes: this process is on a cluster already; call ray.shutdown()")
        os.environ.update(QUICKER | (environment or {}))
        keep_token_private()
        enable_token_auth_by_default()  # which ray.init does for clusters that it starts itself
        self._num_nodes, self._change, self._over = num_nodes, threading.Lock(), False

    def __enter__(self) -> Self:
        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(self._num_nodes - 1):
            self.add()
        ray.init(address=self._cluster.address, log_to_driver=False)
        # Ray's handlers of signals are there by now, and no other thread may install them.
        self._cluster._shutdown_at_exit = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._change:
            self._over = True
            ray.shutdown()
            self._cluster.shutdown()

    def add(self) -> None:
        """One more node, unless all is over."""
        with self._change:
            if self._over:
                return
            self._clear()
            self._cluster.add_node(num_cpus=CPUS, object_store_memory=STORE_BYTES)

    def _clear(self) -> None:
        """Wait for nodes that were killed: workers stay while their raylet is but a zombie."""
        for node in list(self._cluster.worker_nodes):
            if node.dead_processes():
                self._cluster.remove_node(node, allow_graceful=False)


def failing_calls(percent: int) -> dict[str, str]:
    """An environment in which so many calls of actors are lost, and as many of the replies.

    Source: Ray's own tests of its core, `RAY_testing_rpc_failure`.
    """
    failure = {
        "num_failures": -1,
        "req_failure_prob": percent,
        "resp_failure_prob": percent,
    }
    return {"RAY_testing_rpc_failure": json.dumps({CALL: failure})}
