"""Kill a node of a local cluster as chaos does, and put one in its place: does its worker end?

Run as a program: a process has one cluster.
"""

import os
import signal
import time
from pathlib import Path

import ray

from parle_ray.chaos.local_cluster import LocalCluster

PATIENCE_S = 30.0


def runs(pid: int) -> bool:
    """Whether this process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


if __name__ == "__main__":
    with LocalCluster(2) as nodes:
        look = ray.remote(num_cpus=1, max_retries=0)(lambda: (os.getpid(), os.getppid()))
        worker, raylet = ray.get(look.remote())
        os.kill(raylet, signal.SIGKILL)
        os.waitid(os.P_PID, raylet, os.WEXITED | os.WNOWAIT)
        nodes.add()
        end = time.monotonic() + PATIENCE_S
        while runs(worker) and time.monotonic() < end:
            ray.wait([look.remote()], timeout=1.0)
        print("still there" if runs(worker) else "gone")
