"""Ends processes that Ray cannot end, and asks what ended those that are dead."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from parle_ray.cluster.nodes import on_node

FINDING_S = 3.0
"""How long a node may take to say what it knows; the run goes on without it."""


def oom_kills() -> int:
    """How often the kernel of this machine has ended a process for want of memory."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def bury(node: str, pids: Sequence[int], oom_kills_before: int) -> str:
    """End worker processes of a node if they still are some, such as one that is stopped.

    Returns:
        What the node knows of its death: a clause, or an empty string.
    """
    there: Any = ray.remote(num_cpus=0, max_retries=0)(_bury)
    visit = there.options(scheduling_strategy=on_node(node)).remote(pids, oom_kills_before)
    try:
        return ray.get(visit, timeout=FINDING_S)
    except (RayError, TimeoutError):
        return "its node does not answer" if not _is_alive(node) else ""


def end(node: str, pid: int) -> None:
    """End a worker process of a node if it still is one; the driver's own node needs no task."""
    if node == ray.get_runtime_context().get_node_id():
        _kill(pid)
    else:
        bury(node, [pid], oom_kills_before=0)


def _kill(pid: int) -> None:
    if _is_worker(pid):
        os.kill(pid, signal.SIGKILL)


def _bury(pids: Sequence[int], oom_kills_before: int) -> str:
    for pid in pids:
        _kill(pid)
    if oom_kills() > oom_kills_before:
        return (
            "the kernel has ended a process of its node for want of memory; give the replica "
            "smaller batches, or the node more memory"
        )
    return ""


def _is_worker(pid: int) -> bool:
    """Whether this process is one of Ray's, and not another that has taken its number."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


def _is_alive(node: str) -> bool:
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())
