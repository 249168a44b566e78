"""How fast the links to the replicas are, and the codec that this asks for."""

import time
from typing import Any

import ray

from parle_ray.compression import choose

ENOUGH_S = 0.5
"""A transfer that takes this long says enough about its link."""
LARGEST = 64 * 2**20


def choose_codec(
    replicas: dict[int, Any], *, nodes: dict[int, str], num_params: int
) -> tuple[str, str]:
    """The codec for `compression="auto"`, and why.

    All vectors pass the coordinator's link, which runs beside the driver: each node's share of it
    is what counts. On one node vectors only change hands in memory, and no codec pays.
    """
    here = ray.get_runtime_context().get_node_id()
    away = {node: replicas[rank] for rank, node in sorted(nodes.items()) if node != here}
    if not away:
        return "none", "as all replicas are on the coordinator's node"
    speed = min(_bytes_per_s(actor) for actor in away.values())
    share = speed / sum(node != here for node in nodes.values())
    speeds = ray.get(next(iter(away.values())).codec_speeds.remote())
    codec = choose(num_params, share, speeds)
    return codec, f"at {8e-6 * speed:,.0f} Mbit/s to {len(away)} other node(s)"


def _bytes_per_s(replica: Any) -> float:
    """Of the link from a replica's node to here: of the last transfer, each four times the last."""
    size = 2**20
    while True:
        ref = replica.load.remote(size)
        ray.wait([ref], fetch_local=False)
        before = time.perf_counter()
        ray.get(ref)
        seconds = time.perf_counter() - before
        if seconds >= ENOUGH_S or size >= LARGEST:
            return size / seconds
        size *= 4
