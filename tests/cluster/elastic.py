"""A run on a cluster of its own that grows to three nodes and shrinks to one: see `test_elastic`.

It ends when the reports have told of all that: a replica that leaves in order is no fault.
"""

import sys
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.train import FailureConfig, RunConfig, ScalingConfig

from parle_ray import ParleTrainer
from parle_ray.strategies import Parle
from tests.cluster import task


class Weather:
    """Adds two nodes when one replica is there, drains one of them, and kills the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nodes: list[Any] = []
        self._next = [
            ((1, 0), self.add),
            ((3, 0), self.drain),
            ((2, 0), self.kill),
            ((1, 1), self.end),
        ]
        """What happens next, and at how many replicas and faults."""

    def __call__(self, report: dict[str, Any]) -> None:
        when, happen = self._next[0]
        if (report["replicas_alive"], report["faults"]) == when:
            self._next.pop(0)
            happen()

    def add(self) -> None:
        self._nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]

    def drain(self) -> None:
        """What an autoscaler does before it takes a node back."""
        client = ray._raylet.GcsClient(address=self._cluster.address)
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = client.drain_node(self._nodes[0].node_id, reason, "the spot market", 0)
        assert accepted, why

    def kill(self) -> None:
        self._cluster.remove_node(self._nodes[1], allow_graceful=False)

    def end(self) -> None:
        raise KeyboardInterrupt


def main(storage_path: str) -> None:
    head = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False)
    weather = Weather(cluster)
    trainer = ParleTrainer(
        strategy=Parle(sync_every=4),
        scaling_config=ScalingConfig(num_workers=(1, 3), resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name="elastic",
            storage_path=storage_path,
            failure_config=FailureConfig(max_failures=-1),
        ),
        on_report=weather,
        **(task.arguments() | {"num_rounds": 100_000}),
    )
    try:
        trainer.fit()
    except KeyboardInterrupt:
        print("seen it all")
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
