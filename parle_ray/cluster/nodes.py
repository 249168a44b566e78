"""Where an actor or a task has to run."""

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

HEAD = "node:__internal_head__"
"""A resource that Ray gives the node of its head."""


def on_node(node_id: str, *, soft: bool = False) -> NodeAffinitySchedulingStrategy:
    """On this node and no other, unless `soft` and it is gone."""
    return NodeAffinitySchedulingStrategy(node_id, soft=soft)


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Beside the driver: an actor without resources would land anywhere, and die with it."""
    return on_node(ray.get_runtime_context().get_node_id())


def is_head() -> bool:
    """Whether this process is on the node of the cluster's head."""
    here = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == here and HEAD in node["Resources"] for node in ray.nodes())
