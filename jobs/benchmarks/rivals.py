"""The loops that `step` compares with, each as its own documentation writes it."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from importlib.util import find_spec
from itertools import cycle, islice
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from torch.distributed.optim import PostLocalSGDOptimizer
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from jobs.benchmarks.harness import Unavailable
from jobs.benchmarks.problems import Problem, sgd
from jobs.benchmarks.processes import together

SYNC_EVERY = 25
WARM_UP = SYNC_EVERY

Loop = tuple[nn.Module, Optimizer]
"""What the loop calls, and what it steps."""


def run(problem: Problem, rival: str, steps: int, num: int = 2) -> dict[str, float]:
    """CPU and wall time of a step, ms, mean over `num` processes.

    Raises:
        Unavailable: the rival's package is not installed.
    """
    if rival.startswith("torchft") and find_spec("torchft") is None:
        raise Unavailable("not installed: pip install -r jobs/requirements-bench.txt")
    found = together(_train, num, problem, rival, steps)
    return {name: sum(each[name] for each in found) / num for name in found[0]}


def _train(rank: int, num: int, problem: Problem, rival: str, steps: int) -> dict[str, float]:
    torch.manual_seed(0)
    module = problem.model()
    batches = cycle(problem.batches(rank))
    with RIVALS[rival](module, rank, num) as (model, optimizer):

        def walk(num_steps: int) -> None:
            for batch in islice(batches, num_steps):
                optimizer.zero_grad()
                problem.loss(model, batch).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

        walk(WARM_UP)
        dist.barrier()
        cpu, wall = time.process_time(), time.perf_counter()
        walk(steps)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        dist.barrier()
    return {"cpu_ms": 1e3 * cpu / steps, "wall_ms": 1e3 * wall / steps}


@contextmanager
def _bare(module: nn.Module, rank: int, num: int) -> Iterator[Loop]:
    """Processes that know nothing of each other: the ideal."""
    yield module, sgd(module.parameters())


@contextmanager
def _ddp(module: nn.Module, rank: int, num: int) -> Iterator[Loop]:
    yield DistributedDataParallel(module), sgd(module.parameters())


@contextmanager
def _post_local_sgd(module: nn.Module, rank: int, num: int) -> Iterator[Loop]:
    """Without the DDP that its warm-up would need: local from the first step on."""
    averager = PeriodicModelAverager(period=SYNC_EVERY, warmup_steps=0)
    yield module, PostLocalSGDOptimizer(sgd(module.parameters()), averager)


@contextmanager
def _torchft_local_sgd(module: nn.Module, rank: int, num: int) -> Iterator[Loop]:
    inner = sgd(module.parameters())
    with _manager(module, inner, rank, num) as manager:
        from torchft.local_sgd import LocalSGD

        with LocalSGD(manager, module, inner, SYNC_EVERY):
            yield module, inner


@contextmanager
def _torchft_diloco(module: nn.Module, rank: int, num: int) -> Iterator[Loop]:
    inner = sgd(module.parameters())
    outer = torch.optim.SGD(module.parameters(), lr=0.7, momentum=0.9, nesterov=True)
    with _manager(module, inner, rank, num) as manager:
        from torchft.local_sgd import DiLoCo

        with DiLoCo(manager, [module], inner, outer, SYNC_EVERY):
            yield module, inner


@contextmanager
def _manager(module: nn.Module, inner: Optimizer, rank: int, num: int) -> Iterator[Any]:
    """torchft's manager: every process is a replica group of its own, the first has the lighthouse.

    DiLoCo demands the synchronous quorum.
    """
    # Read at import. A line for every message of the quorum would cost it time, and hide the table.
    os.environ["RUST_LOG"] = "warn"
    logging.disable(logging.INFO)
    from torchft.coordination import LighthouseServer
    from torchft.manager import Manager
    from torchft.process_group import ProcessGroupGloo

    lighthouse = LighthouseServer(bind="0.0.0.0:0", min_replicas=num) if rank == 0 else None
    address = [f"http://127.0.0.1:{lighthouse.address().rpartition(':')[2]}" if lighthouse else ""]
    dist.broadcast_object_list(address, src=0)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    manager = Manager(
        pg=ProcessGroupGloo(timeout=timedelta(seconds=60)),
        load_state_dict=lambda state: None,
        state_dict=lambda: {"model": module.state_dict(), "inner": inner.state_dict()},
        min_replica_size=num,
        use_async_quorum=False,
        init_sync=False,
        rank=0,
        world_size=1,
        store_addr="127.0.0.1",
        store_port=store.port,
        lighthouse_addr=address[0],
        replica_id=f"replica_{rank}",
        hostname="127.0.0.1",
    )
    try:
        yield manager
    finally:
        manager.shutdown(wait=False)
        if lighthouse:
            lighthouse.shutdown()


RIVALS: dict[str, Callable[[nn.Module, int, int], AbstractContextManager[Loop]]] = {
    "bare loop": _bare,
    "DDP": _ddp,
    "PostLocalSGD": _post_local_sgd,
    "torchft LocalSGD": _torchft_local_sgd,
    "torchft DiLoCo": _torchft_diloco,
}
