"""One exchange, from a finished push to the answer, beside memcpy and gloo's all-reduce."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import torch
import torch.distributed as dist

from jobs.benchmarks.bare_ray import round_trips_s
from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import Vector
from jobs.benchmarks.processes import together
from jobs.benchmarks.stamps import Stamped, StampedLocalSGD, StampedParle
from parle_ray.execution import Execution

SKIP = 2
"""Rounds that touch the object store's memory for the first time."""
LONG = 1.5e8
"""Parameter updates in a round behind which an exchange is hidden."""


def benchmark(quick: bool) -> Benchmark:
    """n = 2; the vector is trained with a loss that costs nothing."""
    sizes = {"0.27 M": 270_000}
    if not quick:
        sizes |= {"11 M": 11_000_000, "36.5 M": 36_500_000, "50 M": 50_000_000}
    times = 6 if quick else 10
    return Benchmark(
        title="One exchange of a vector of float32 between two processes and the master",
        quantities={
            "last_ms": "from the last replica's finished push to the answers, median, ms",
            "exchange_ms": "exchange_s of the reports: a faster replica waits for the last, ms",
        },
        cases=[
            Case(
                name=f"{name} parameters",
                contestants={
                    "Parle (ours), hidden": partial(_ours, size, _steps(size), times),
                    "local SGD (ours), waited for": partial(
                        _ours, size, 1, times, kind=StampedLocalSGD
                    ),
                    "the same calls on bare Ray": partial(_bare_ray, size, times),
                    "gloo all-reduce": partial(_all_reduce, size, times),
                    "memcpy": partial(_memcpy, size, times),
                },
                bases=("memcpy", "gloo all-reduce", "the same calls on bare Ray"),
            )
            for name, size in sizes.items()
        ],
        repeats=1 if quick else 5,
        surroundings=cluster,
    )


def _steps(num_params: int) -> int:
    """Local steps that take longer than an exchange: fewer of a longer vector."""
    return int(min(200, max(4, LONG // num_params)))


def _ours(
    num_params: int, sync_every: int, rounds: int, kind: Callable[..., Stamped] = StampedParle
) -> Mapping[str, float]:
    trace = train(
        Vector(num_params=num_params),
        num_rounds=SKIP + rounds,
        sync_every=sync_every,
        kind=kind,
    )
    # The answer to a push comes while the next round is walked, and is in that one's report.
    leads = dict(enumerate(trace.lead_s(), start=1))
    last = [trace.reports[k]["exchange_s"] - leads[k] for k in range(SKIP, SKIP + rounds)]
    return {"last_ms": 1e3 * median(last), "exchange_ms": 1e3 * trace.median("exchange_s", SKIP)}


def _bare_ray(num_params: int, times: int) -> Mapping[str, float]:
    return _alike(1e3 * median(round_trips_s(num_params, SKIP + times)[SKIP:]))


def _all_reduce(num_params: int, times: int) -> Mapping[str, float]:
    found = together(_reduce, 2, num_params, times)
    return _alike(1e3 * sum(found) / len(found))


def _reduce(rank: int, num: int, num_params: int, times: int) -> float:
    vector = torch.ones(num_params)
    seconds = []
    for _ in range(SKIP + times):
        dist.barrier()
        before = time.perf_counter()
        dist.all_reduce(vector)
        vector /= num
        seconds.append(time.perf_counter() - before)
    return median(seconds[SKIP:])


def _memcpy(num_params: int, times: int) -> Mapping[str, float]:
    source, target = torch.ones(num_params), torch.zeros(num_params)
    seconds = []
    for _ in range(SKIP + times):
        with Execution().threads(1):
            before = time.perf_counter()
            target.copy_(source)
            seconds.append(time.perf_counter() - before)
    return _alike(1e3 * median(seconds[SKIP:]))


def _alike(milliseconds: float) -> Mapping[str, float]:
    """Where all begin at the same time there is no last one to wait for."""
    return {"last_ms": milliseconds, "exchange_ms": milliseconds}
