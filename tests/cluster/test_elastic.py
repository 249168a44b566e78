"""A run that grows with its cluster, and shrinks with it, without a restart."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.train import FailureConfig, RunConfig, ScalingConfig

from parle_ray import ParleTrainer
from parle_ray.strategies import Parle
from tests.cluster import task

DRAIN = """
import sys, ray
from ray.core.generated import autoscaler_pb2
reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
client = ray._raylet.GcsClient(address=sys.argv[1])
print(client.drain_node(sys.argv[2], reason, "the spot market", 0))
"""
"""What a cloud's provider of nodes does before it takes one back."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Of one node, with room for a replica."""
    ray.shutdown()
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_run_grows_and_shrinks_with_its_cluster(cluster: Cluster, tmp_path: Path) -> None:
    alive: list[int] = []
    faults: list[int] = []
    nodes: list[Any] = []
    steps = iter(["two", "drain", "kill", "end"])
    step = next(steps)

    def listen(report: dict[str, Any]) -> None:
        nonlocal step
        alive.append(report["replicas_alive"])
        faults.append(report["faults"])
        if step == "two" and alive[-1] == 1:
            step = next(steps)
            nodes.extend(cluster.add_node(num_cpus=1) for _ in range(2))
        elif step == "drain" and alive[-1] == 3:
            step = next(steps)
            drained = subprocess.run(
                [sys.executable, "-c", DRAIN, cluster.address, nodes[0].node_id],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert drained.stdout.startswith("(True"), drained
        elif step == "kill" and alive[-1] == 2:
            assert faults[-1] == 0
            step = next(steps)
            cluster.remove_node(nodes[1], allow_graceful=False)
        elif step == "end" and alive[-1] == 1:
            step = "done"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ParleTrainer(
            strategy=Parle(sync_every=4),
            scaling_config=ScalingConfig(num_workers=(1, 3), resources_per_worker={"CPU": 1}),
            run_config=RunConfig(
                name="elastic",
                storage_path=str(tmp_path),
                failure_config=FailureConfig(max_failures=-1),
            ),
            on_report=listen,
            **(task.arguments() | {"num_rounds": 100_000}),
        ).fit()
    assert step == "done"
    assert faults[-1] == 1, "the one that was drained was counted, or the one that was lost was not"
