"""Parle's local update alone against `torch.optim.SGD(foreach=True)` on as many parameters."""

import time
from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor, nn

from jobs.benchmarks.harness import Benchmark, Case
from parle_ray.flat import FlatModule
from parle_ray.replica import Replica
from parle_ray.schedules import Plan
from parle_ray.strategies import Parle

NUM_TENSORS = 60
WARM_UP = 3


def benchmark(quick: bool) -> Benchmark:
    """11 M parameters are a ResNet-18's, 36.5 M a WRN-28-10's."""
    sizes = {"0.27 M": 270_000} if quick else {"11 M": 11_000_000, "36.5 M": 36_500_000}
    steps = 20 if quick else 15
    return Benchmark(
        title="Parle's local update, (8a) and (8b), against SGD with Nesterov momentum; one thread",
        quantities={
            "cpu_ms": "CPU time of an update, ms",
            "wall_ms": "wall time of an update, ms",
        },
        cases=[
            Case(
                name=f"{name} parameters in {NUM_TENSORS} tensors",
                contestants={
                    "Parle": partial(_parle, size, steps, False),
                    "Parle, fused=True": partial(_parle, size, steps, True),
                    "SGD, foreach=True": partial(_sgd, size, steps),
                },
                bases=("SGD, foreach=True",),
            )
            for name, size in sizes.items()
        ],
        repeats=3 if quick else 7,
    )


@cache
def shapes(num_params: int, num_tensors: int = NUM_TENSORS) -> tuple[int, ...]:
    """Sizes of tensors as in a ResNet: convolutions that grow, each with two small vectors.

    >>> sum(shapes(11_000_000)), len(shapes(11_000_000))
    (11000000, 60)
    """
    blocks = num_tensors // 3
    vectors = [64 * 2 ** (4 * i // blocks) for i in range(blocks)]
    left = num_params - 2 * sum(vectors)
    weights = [4 ** (4 * i // blocks) for i in range(blocks)]
    kernels = [left * weight // sum(weights) for weight in weights]
    kernels[-1] += left - sum(kernels)
    return tuple(size for k, v in zip(kernels, vectors, strict=True) for size in (k, v, v))


def _parameters(num_params: int) -> nn.ParameterList:
    torch.manual_seed(0)
    return nn.ParameterList(torch.randn(size) for size in shapes(num_params))


def _parle(num_params: int, steps: int, fused: bool) -> Mapping[str, float]:
    flat = FlatModule(_parameters(num_params))
    flat.gradient.normal_()
    # fused=False would also forbid foreach: None leaves the choice to torch, as users do.
    inner = torch.optim.SGD(
        flat.parameters, lr=0.1, momentum=0.9, nesterov=True, fused=True if fused else None
    )
    strategy = Parle().bind(Plan(num_rounds=100, batches_per_pass=None))
    replica = Replica(flat, inner, strategy)
    return _time(lambda: replica.local_step(0), steps, flat.vector)


def _sgd(num_params: int, steps: int) -> Mapping[str, float]:
    parameters = list(_parameters(num_params))
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, foreach=True)
    return _time(optimizer.step, steps, parameters[0].detach())


def _time(update: Callable[[], object], steps: int, moved: Tensor) -> Mapping[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(WARM_UP):
            update()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(steps):
            update()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    finally:
        torch.set_num_threads(threads)
    assert moved.isfinite().all()
    return {"cpu_ms": 1e3 * cpu / steps, "wall_ms": 1e3 * wall / steps}
