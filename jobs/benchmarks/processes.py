"""Processes that run at the same time, joined in a gloo group: where the rivals run."""

import os
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import torch
import torch.distributed as dist

PATIENCE_S = 900.0
"""How long the slowest of them may take."""


def together(target: Callable[..., Any], num: int, *args: Any) -> list[Any]:
    """`target(rank, num, *args)` in `num` new processes of one thread each; what they return."""
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(num) as pool:
        calls = [(target, rank, num, f"{folder}/store", args) for rank in range(num)]
        found = pool.starmap_async(_join, calls, chunksize=1).get(PATIENCE_S)
        pool.close()
        pool.join()
    return found


def _join(target: Callable[..., Any], rank: int, num: int, store: str, args: tuple[Any]) -> Any:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=num)
    try:
        return target(rank, num, *args)
    finally:
        dist.destroy_process_group()
