"""A run that is told to end, or killed: what it leaves, and that it goes on from there."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from parle_ray import simulate
from parle_ray.runs import checkpoint, reports
from parle_ray.runs.storage import open_folder
from tests.cluster import task
from tests.cluster.test_fit import STRATEGIES, master_of

ROOT = Path(__file__).parents[2]
NUM_ROUNDS = 600
SCRIPT = """
import signal, sys
from ray.train import RunConfig, ScalingConfig
from parle_ray import ParleTrainer
from parle_ray.cluster.connect import connect
from tests.cluster import task
from tests.cluster.test_fit import STRATEGIES

address, storage_path, num_rounds = sys.argv[1:]
connect(address)
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
while True:
    try:
        trainer = ParleTrainer(
            strategy=STRATEGIES["parle"],
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(name="run", storage_path=storage_path),
            checkpoint_every=10_000,
            on_report=lambda report: print("round", report["round"], flush=True),
            **(task.arguments() | {"num_rounds": int(num_rounds)}),
        )
        task.patient(trainer).fit()
    except (KeyboardInterrupt, SystemExit) as end:
        assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        print("ended", type(end).__name__, *end.args, flush=True)
"""
"""A user's own, which starts the same run again whenever it has been ended."""


@pytest.fixture
def script(cluster: None, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, address, str(tmp_path), str(NUM_ROUNDS)],
        cwd=ROOT,
        env=os.environ | {"RAY_AUTH_MODE": "token"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        yield process
        process.kill()


def test_a_run_that_is_ended_twice_and_then_killed_has_the_bits_of_one_left_alone(
    trainer: Any, script: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert script.stdout is not None
    saved = 0
    ends = {signal.SIGTERM: "ended SystemExit 143\n", signal.SIGINT: "ended KeyboardInterrupt\n"}
    for number, end in ends.items():
        assert f"round {saved + 3}\n" in script.stdout
        script.send_signal(number)
        assert end in script.stdout
        told = reports.read(open_folder(tmp_path, "run"))
        newest = checkpoint.names(open_folder(tmp_path, "run"))[-1]
        assert checkpoint.round_of(newest) == told[-1]["round"] > saved + 2
        saved = told[-1]["round"]
    assert f"round {saved + 3}\n" in script.stdout
    script.kill()
    script.wait()
    seen: list[int] = []
    arguments = task.arguments() | {"num_rounds": NUM_ROUNDS}
    result = trainer(
        STRATEGIES["parle"], on_report=lambda report: seen.append(report["round"]), **arguments
    ).fit()
    assert seen == list(range(saved + 1, NUM_ROUNDS + 1))
    outcome = simulate(strategy=STRATEGIES["parle"], num_replicas=2, **arguments)
    assert torch.equal(master_of(result), outcome.master)
