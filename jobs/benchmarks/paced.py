"""Three replicas that train at a given pace, one of which may be slow, stopped or killed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig

from jobs.benchmarks.paced_mlp import STEP_S
from jobs.benchmarks.problems import LENET, sgd
from parle_ray import ParleTrainer
from parle_ray.execution import Execution
from parle_ray.strategies import Parle

SYNC_EVERY = 25
NUM = 3
STRUCK = NUM - 1
"""The rank that is killed, slowed down or stopped."""
WARM = 6
"""Rounds before anything is done or measured."""

Report = dict[str, Any]


@dataclass(frozen=True)
class Paced:
    """`batches_fn`: a batch every `STEP_S`; rank `STRUCK` is `slower` once there is `signal`.

    The first batch leaves the process's number in `folder`.
    """

    folder: Path
    slower: float = 1.0

    def __call__(self, rank: int, num_replicas: int) -> "Pacer":
        return Pacer(self, rank)


class Pacer:
    """The batches of one rank."""

    def __init__(self, pace: Paced, rank: int) -> None:
        self._pace, self._rank = pace, rank

    def __iter__(self) -> Iterator[Any]:
        (self._pace.folder / f"pid-{self._rank}").write_text(str(os.getpid()))
        slow = self._pace.folder / "slow"
        for batch in cycle(LENET.batches(self._rank)):
            is_slow = self._rank == STRUCK and slow.exists()
            time.sleep(STEP_S * (self._pace.slower if is_slow else 1.0))
            yield batch[0][:8], batch[1][:8]


def train(folder: Path, listen: Callable[[Report], None], slower: float = 1.0) -> None:
    """Until `listen` raises `Seen`."""
    trainer = ParleTrainer(
        model_fn=LENET.model,
        loss_fn=LENET.loss,
        batches_fn=Paced(folder, slower),
        strategy=Parle(sync_every=SYNC_EVERY),
        inner_optimizer_fn=sgd,
        num_rounds=100_000,
        scaling_config=ScalingConfig(num_workers=NUM),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=-1),
        ),
        execution=Execution(device="cpu", num_threads=1),
        on_report=listen,
    )
    try:
        trainer.fit()
    except Seen:
        return


class Seen(Exception):
    """All that was to be watched has been seen."""


def stand_still(pid: int, seconds: float) -> None:
    """Stop a process, and wake it later if it is still there."""
    os.kill(pid, signal.SIGSTOP)

    def wake() -> None:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return

    waking = threading.Timer(seconds, wake)
    waking.daemon = True
    waking.start()
