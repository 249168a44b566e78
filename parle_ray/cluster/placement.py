"""Where replicas go: resources, nodes, and whether the cluster has room at all."""

import os
from pathlib import Path
from typing import Any

import ray
from ray.train import ScalingConfig
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from parle_ray.cluster.nodes import on_node
from parle_ray.errors import InputError

UNASKED = 1000
"""So many replicas that ask for nothing fit on a node."""


def replica_resources(scaling: ScalingConfig, num_processes: int = 1) -> dict[str, float]:
    """What each replica asks Ray for.

    Where the user says nothing, replicas share the cluster's CPUs: a whole one for each of their
    processes, or less where there are not so many; and a process has one GPU, if any.
    """
    given: Any = scaling.resources_per_worker or {}
    asked: dict[str, float] = dict(given)
    if scaling.use_gpu:
        asked.setdefault("GPU", num_processes)
    if "CPU" not in asked:
        cpus = ray.cluster_resources().get("CPU", 0.0)
        asked["CPU"] = min(num_processes, int(100 * cpus / fewest_replicas(scaling)) / 100)
    return {name: amount for name, amount in asked.items() if amount}


def num_replicas(scaling: ScalingConfig) -> int:
    """`num_workers`, which is the number of replicas; the larger number of an elastic run."""
    least, most = _range(scaling)
    return most


def fewest_replicas(scaling: ScalingConfig) -> int:
    """With so many a run starts; all of them, if it is not elastic."""
    least, most = _range(scaling)
    return least


def _range(scaling: ScalingConfig) -> tuple[int, int]:
    n: Any = scaling.num_workers
    least, most = n if isinstance(n, tuple) else (n, n)
    for one in (least, most):
        if not isinstance(one, int) or isinstance(one, bool) or one < 1:
            raise InputError(f"num_workers must be a whole number >= 1, or two of them, got {n!r}")
    if isinstance(n, tuple) and str(scaling.placement_strategy).startswith("STRICT_"):
        raise InputError(
            f"placement_strategy={scaling.placement_strategy!r} pins replicas to nodes, and an "
            "elastic run does not know its nodes; use 'PACK' or 'SPREAD'"
        )
    return least, most


def check_room(resources: dict[str, float], n: int) -> None:
    """Refuse at once what would wait for ever.

    Raises:
        InputError: names the resource, what is asked and what there is.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, amount in resources.items():
        if amount < 0:
            raise InputError(f"resources_per_worker: {name} must be >= 0, got {amount}")
    fits = sum(_room(node, resources) for node in nodes)
    if fits >= n:
        return
    asked = ", ".join(f"{amount:g} {name}" for name, amount in sorted(resources.items()))
    has = {name: sum(node.get(name, 0.0) for node in nodes) for name in resources}
    there = ", ".join(f"{amount:g} {name}" for name, amount in sorted(has.items()))
    fix = "use_gpu=False, a fraction of a GPU for each, " if "GPU" in resources else ""
    raise InputError(
        f"num_workers: {n} replicas of {asked} each do not fit: the cluster's {len(nodes)} node(s) "
        f"have {there} in all, room for {fits}; ask for {fix}fewer resources "
        "(resources_per_worker; --cpus_per_replica, --gpus_per_replica) or fewer replicas "
        "(num_workers; --num_replicas)"
    )


def _room(node: dict[str, float], resources: dict[str, float]) -> int:
    """How many replicas fit on a node that has these resources."""
    rooms = (int(node.get(name, 0.0) / amount + 1e-9) for name, amount in resources.items())
    return min(rooms, default=UNASKED)


def scheduling(
    placement: Any, resources: dict[str, float], n: int, *, in_order: bool = False
) -> list[Any]:
    """Ray's scheduling strategy for each replica.

    `PACK` and `SPREAD` are wishes; their `STRICT_` forms pin replicas to nodes. Ray packs a node
    half full before it takes the next; with `in_order`, `PACK` wishes that ranks fill one node
    after the other, so that consecutive ones lie together. In a placement group that has a bundle
    for each, as that of a Tune trial, they lie there.
    """
    if bundles := _bundles(resources, n):
        return bundles
    if placement == "PACK" and not in_order:
        return ["DEFAULT"] * n
    if placement == "SPREAD":
        return ["SPREAD"] * n
    nodes = [node for node in ray.nodes() if node["Alive"]]
    room = {node["NodeID"]: _room(node["Resources"], resources) for node in nodes}
    if placement == "PACK":
        places = [node for node, room_there in room.items() for _ in range(room_there)]
        wishes = [
            NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
            for node in places[:n]
        ]
        return [*wishes, *["DEFAULT"] * (n - len(wishes))]
    if placement == "STRICT_PACK":
        chosen = [node for node, places in room.items() if places >= n][:1] * n
    else:
        chosen = [node for node, places in room.items() if places >= 1][:n]
    if len(chosen) < n:
        raise InputError(
            f"placement_strategy={placement!r}: {n} replicas cannot be placed so on "
            f"{len(nodes)} node(s) with room for {sorted(room.values())}; use 'PACK' or 'SPREAD'"
        )
    return [NodeAffinitySchedulingStrategy(node, soft=False) for node in chosen]


def _bundles(resources: dict[str, float], n: int) -> list[Any]:
    """One for each replica, of the placement group around us; none if it has too few."""
    group = ray.util.get_current_placement_group() if ray.is_initialized() else None
    if group is None:
        return []
    fits = [i for i, bundle in enumerate(group.bundle_specs) if _room(bundle, resources)]
    return [PlacementGroupSchedulingStrategy(group, i) for i in fits[:n]] if len(fits) >= n else []


def replica_options(resources: dict[str, float]) -> dict[str, Any]:
    """The same resources as arguments of an actor's `options`."""
    rest = {name: value for name, value in resources.items() if name not in ("CPU", "GPU")}
    return {
        "num_cpus": resources.get("CPU", 0),
        "num_gpus": resources.get("GPU", 0),
        "resources": rest or None,
    }


def check_shared(folder: Path) -> None:
    """Refuse a run folder that other machines of the cluster do not see.

    The driver writes it; a job submitted again may have its driver elsewhere, and would not find
    the checkpoint to go on from.

    Raises:
        InputError: names the folder and a node that has no such folder.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [n for n in ray.nodes() if n["Alive"] and n["NodeID"] != here]
    if not others:
        return
    probe = folder / f".seen-by-all-{os.getpid()}"
    probe.write_text("")
    look = ray.remote(num_cpus=0)(lambda: probe.exists())
    try:
        seen = {
            node["NodeManagerHostname"]: look.options(
                scheduling_strategy=on_node(node["NodeID"])
            ).remote()
            for node in others
        }
        for host, found in seen.items():
            if not ray.get(found):
                raise InputError(
                    f"storage_path: {folder} is not the same folder on node {host}; give one that "
                    "all nodes share, such as a network file system"
                )
    finally:
        probe.unlink(missing_ok=True)
