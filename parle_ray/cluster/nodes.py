"""Where an actor or a task has to run."""

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def on_node(node_id: str, *, soft: bool = False) -> NodeAffinitySchedulingStrategy:
    """On this node and no other, unless `soft` and it is gone."""
    return NodeAffinitySchedulingStrategy(node_id, soft=soft)


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Beside the driver: an actor without resources would land anywhere, and die with it."""
    return on_node(ray.get_runtime_context().get_node_id())
