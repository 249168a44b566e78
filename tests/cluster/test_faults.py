"""Every process of a run may die, and the run goes on: to the same bits, where nothing is lost."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch

from parle_ray import simulate
from tests.cluster import task
from tests.cluster.test_fit import STRATEGIES, master_of

Report = dict[str, Any]


def pid_of(role: str) -> int:
    """Of the actor `run/<role>`, which is at work but answers in another thread."""
    actor = ray.get_actor(f"run/{role}", namespace="parle_ray")
    ask = actor.__ray_call__.options(concurrency_group="control")
    return ray.get(ask.remote(lambda self: os.getpid()))


def kill(role: str) -> None:
    """As the kernel does it: the process has no last word."""
    os.kill(pid_of(role), signal.SIGKILL)


def at_rounds(deeds: dict[int, Callable[[], None]], seen: list[Report]) -> Callable[[Report], None]:
    """A listener that keeps the reports, and does what is due at a round."""

    def listen(report: Report) -> None:
        seen.append(report)
        deeds.get(report["round"], lambda: None)()

    return listen


def rounds_of(result: Any) -> list[int]:
    lines = (Path(result.path) / "result.json").read_text().splitlines()
    return [json.loads(line)["round"] for line in lines]


def test_a_run_that_loses_its_coordinator_ends_with_the_same_bits(trainer: Any) -> None:
    """Three times, the last of them before the last cut is written."""
    deeds = dict.fromkeys([2, 5, task.NUM_ROUNDS], lambda: kill("coordinator"))
    seen: list[Report] = []
    result = trainer(
        STRATEGIES["parle"], on_report=at_rounds(deeds, seen), checkpoint_every=4
    ).fit()
    outcome = simulate(strategy=STRATEGIES["parle"], num_replicas=2, **task.arguments())
    assert rounds_of(result) == [one["round"] for one in seen] == list(range(1, 9))
    assert [one["loss"] for one in seen] == [one["loss"] for one in outcome.history]
    assert torch.equal(master_of(result), outcome.master)
    assert result.metrics["accuracy"] == outcome.history[-1]["accuracy"]
    assert result.metrics["faults"] == 0
