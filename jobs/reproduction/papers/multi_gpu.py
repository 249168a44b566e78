"""Yadan et al., arXiv 1312.5853: one network on 4 GPUs, by the arithmetic of the planner.

The published times of 1 and of 2 GPUs give the length of a step and the speed of the bus; all other
times are predicted from these, and held against the published ones.
"""

import pandas as pd

from jobs.reproduction.papers.found import Claim, Found
from parle_ray.planning import Scenario, predict
from parle_ray.strategies import SGD

DAYS = {"1": 10.5, "2, model": 6.6, "2, data": 7.0, "4, data": 7.2, "4, model and data": 4.8}
"""GPUs and scheme -> days for 100 epochs of ImageNet, as published; recalled, not read again."""
NUM_PARAMS = 61_000_000
"""Of AlexNet."""
STEPS = 100 * 1_281_167 // 256
DAY_S = 86_400.0
FAST = 1e15
"""Bytes per second of what is not the bus."""


def predicted_days(step_days: float, replicas: int, num_params: int, bus: float) -> float:
    """Of a run with data parallelism.

    Args:
        step_days: days of all steps of a replica, alone.
        replicas: which cut each mini-batch among them, or groups of GPUs that do.
        num_params: that each GPU exchanges with its like.
        bus: bytes per second to and from each GPU.
    """
    scenario = Scenario(
        num_replicas=replicas,
        nodes=replicas,
        num_params=num_params,
        step_s=step_days * DAY_S / STEPS / replicas,
        strategy=SGD(),
        link_bytes_per_s=bus,
        memory_bytes_per_s=FAST,
        fold_bytes_per_s=FAST,
        call_s=0.0,
        latency_s=0.0,
        num_rounds=4,
    )
    return predict(scenario).round_s * STEPS / DAY_S


def fitted_bus() -> float:
    """Bytes per second with which 2 GPUs take the published time, by bisection."""
    low, high = 1e8, 1e12
    for _ in range(30):
        middle = (low * high) ** 0.5
        slow = predicted_days(DAYS["1"], 2, NUM_PARAMS, middle) > DAYS["2, data"]
        low, high = (middle, high) if slow else (low, middle)
    return low


def run(num_seeds: int) -> Found:
    """The schemes with 1 to 8 GPUs; nothing in it is random."""
    bus = fitted_bus()
    data = {n: predicted_days(DAYS["1"], n, NUM_PARAMS, bus) for n in (1, 2, 4, 8)}
    # A group of two has half of the network on each GPU: each exchanges its half with its like.
    hybrid = {2 * n: predicted_days(DAYS["2, model"], n, NUM_PARAMS // 2, bus) for n in (1, 2, 4)}
    curves = {"data": data, "groups of two that share a network": hybrid}
    return Found(
        claims=(_saturation(data, bus), _hybrid(data, hybrid)),
        curves=pd.concat(
            pd.DataFrame({"curve": name, "x": list(days), "y": list(days.values())})
            for name, days in curves.items()
        ),
        x="GPUs (log)",
        y="days for 100 epochs, predicted (log)",
    )


def _saturation(data: dict[int, float], bus: float) -> Claim:
    return Claim(
        says="data parallelism alone saturates at 2 to 4 GPUs",
        published=f"{DAYS['1']} days with 1, {DAYS['2, data']} with 2, {DAYS['4, data']} with 4",
        ours=f"{data[1]:.1f} and {data[2]:.1f} fitted (a bus of {bus / 1e9:.1f} GB/s), "
        f"{data[4]:.1f} with 4, {data[8]:.1f} with 8",
        kept=data[4] > 0.9 * data[2],
        why="Arithmetic, no run: a coordinator on one GPU's bus. The published days are recalled.",
    )


def _hybrid(data: dict[int, float], hybrid: dict[int, float]) -> Claim:
    return Claim(
        says="model and data parallelism together are the fastest on 4 GPUs",
        published=f"{DAYS['4, model and data']} days, 2.2 times as fast as 1",
        ours=f"{hybrid[4]:.1f} days, {data[1] / hybrid[4]:.1f} times",
        kept=hybrid[4] < min(data.values()),
        why=f"A group of two takes {DAYS['2, model']} days, as published.",
    )
