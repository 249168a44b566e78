"""Replicas of two processes each, with gloo between them: they live and die as one."""

import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from parle_ray import simulate
from parle_ray.execution import Execution
from parle_ray.membership.patience import Patience
from tests.cluster import task
from tests.cluster.test_faults import pid_of
from tests.cluster.test_fit import STRATEGIES, master_of
from tests.cluster.test_resume import Unplugged, unplug_at

TWO = Execution(num_processes=2)
STATE, FSDP = replace(TWO, shard_state=True), replace(TWO, shard_parameters=True)
PIPE = replace(TWO, num_microbatches=4)
LONG = replace(PIPE, num_processes=3)
HYBRID = replace(PIPE, num_processes=4, num_pipelines=2)


@pytest.mark.nightly
@pytest.mark.timeout(560)
@pytest.mark.parametrize(
    ("name", "execution"),
    [
        pytest.param("parle", STATE, id="parle-state"),
        pytest.param("parle", TWO, id="parle-whole"),
        pytest.param("sgd", TWO, id="sgd-whole"),
        pytest.param("hierarchical_parle", TWO, id="apart"),
        pytest.param("parle", FSDP, id="parle-fsdp"),
        pytest.param("sgd", FSDP, id="sgd-fsdp"),
        pytest.param("parle", PIPE, id="parle-pipeline"),
        pytest.param("sgd", PIPE, id="sgd-pipeline"),
        pytest.param("parle", HYBRID, id="parle-hybrid"),
    ],
)
def test_replicas_of_several_processes_end_with_the_bits_of_simulate(
    trainer: Any, name: str, execution: Execution
) -> None:
    """Cut off in the middle, and gone on with."""
    strategy = STRATEGIES[name]
    with pytest.raises(Unplugged):
        trainer(strategy, execution=execution, checkpoint_every=3, on_report=unplug_at(5)).fit()
    result = trainer(strategy, execution=execution).fit()
    outcome = simulate(strategy=strategy, num_replicas=2, execution=execution, **task.arguments())
    assert torch.equal(master_of(result), outcome.master)
    told = {k: v for k, v in outcome.history[-1].items() if k in result.metrics}
    assert {k: result.metrics[k] for k in told} == told


@pytest.mark.timeout(560)
@pytest.mark.parametrize(
    ("how", "execution"),
    [
        pytest.param(signal.SIGKILL, TWO, id="killed-whole", marks=pytest.mark.nightly),
        pytest.param(signal.SIGSTOP, TWO, id="stopped-whole", marks=pytest.mark.nightly),
        pytest.param(signal.SIGKILL, FSDP, id="killed-fsdp"),
        pytest.param(signal.SIGKILL, PIPE, id="killed-pipeline"),
        pytest.param(signal.SIGKILL, LONG, id="killed-of-three", marks=pytest.mark.nightly),
        pytest.param(signal.SIGKILL, HYBRID, id="killed-of-four", marks=pytest.mark.nightly),
    ],
)
def test_a_killed_process_takes_its_replica_with_it_and_no_other(
    trainer: Any, how: signal.Signals, execution: Execution, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last one: of a pipeline of three the first hears of it from the second alone."""
    pids: dict[str, list[int]] = {}
    seen: list[dict[str, Any]] = []
    size = execution.num_processes

    def each(rank: int) -> list[int]:
        others = [pid_of(f"replica-{rank}/{index}") for index in range(1, size)]
        return [pid_of(f"replica-{rank}"), *others]

    def listen(report: dict[str, Any]) -> None:
        seen.append(report)
        if report["round"] == 5:
            pids["killed"], pids["others"] = each(1), each(0)
            os.kill(pids["killed"][-1], how)
        back = [one for one in seen[-20:] if one["faults"] == 1 and one["replicas_alive"] == 2]
        if len(back) == 20:
            pids["back"], pids["still"] = each(1), each(0)
            raise Unplugged

    with pytest.raises(Unplugged):
        trainer(
            STRATEGIES["parle"],
            execution=execution,
            max_failures=-1,
            num_rounds=1_000_000,
            evaluate_every=1_000,
            on_report=listen,
            patience=Patience(full_s=0.5, hung_floor_s=15.0, hung_factor=3.0),
        ).fit()
    assert [one["round"] for one in seen] == list(range(1, len(seen) + 1))
    assert min(one["replicas_alive"] for one in seen) == 1
    assert pids["still"] == pids["others"]
    assert not set(pids["back"]) & set(pids["killed"])
    assert not [pid for pid in pids["killed"] if Path(f"/proc/{pid}").exists()]
    died = rf"its process .* \(process {size} of its {size}\)"
    why = died if how == signal.SIGKILL else "silent for"
    assert re.search(f"replica 1 was lost, {why}", capsys.readouterr().err)
