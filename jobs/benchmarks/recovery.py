"""How long a run takes to get over the loss of a process, and what a slow replica costs others."""

import os
import signal
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, prepare_model
from torch import nn

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster
from jobs.benchmarks.paced import (
    NUM,
    STRUCK,
    SYNC_EVERY,
    WARM,
    Paced,
    Report,
    Seen,
    stand_still,
    train,
)
from jobs.benchmarks.problems import LENET, sgd


def benchmark(quick: bool) -> Benchmark:
    """Three replicas; the watched seconds are those of the longer of the faults."""
    watched_s = 5.0 if quick else 60.0
    return Benchmark(
        title="After the loss of a process, and beside a replica that is slow",
        quantities={
            "recovery_s": "from the kill to the first round, or push, after it; wall time, s",
            "steps_per_s": "of each other replica",
        },
        cases=[
            Case(
                name="the coordinator is killed",
                contestants={
                    "until its successor closes a round": _coordinator_killed,
                    "a bare actor starts": _bare_actor,
                },
                bases=("a bare actor starts",),
            ),
            Case(
                name="a replica is killed",
                contestants={
                    "ParleTrainer (ours), its first push": _replica_killed,
                    "Ray Train's TorchTrainer, its first step": _worker_killed,
                },
                bases=("Ray Train's TorchTrainer, its first step",),
            ),
            Case(
                name="a replica is slow",
                contestants={
                    "all well": partial(_rate, watched_s),
                    "one 10 times slower": partial(_rate, watched_s, slower=10.0),
                    f"one stopped for {watched_s:g} s": partial(_rate, watched_s, stop=True),
                },
                bases=("all well",),
            ),
        ],
        repeats=1 if quick else 3,
        surroundings=partial(cluster, NUM + 1),
    )


def _coordinator_killed() -> Mapping[str, float]:
    """Two rounds after it: the first may have been on its way."""
    killed: list[float] = []
    after: list[float] = []

    def listen(report: Report) -> None:
        if killed:
            after.append(time.monotonic())
        if len(after) == 2:
            raise Seen
        if report["round"] == WARM:
            (name,) = [one for one in _actors() if one.endswith("/coordinator")]
            actor: Any = ray.get_actor(name, namespace="parle_ray")
            ask = actor.__ray_call__.options(concurrency_group="control")
            pid: int = ray.get(ask.remote(lambda actor: os.getpid()))
            killed.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        train(Path(folder), listen)
    return {"recovery_s": after[1] - killed[0]}


def _bare_actor() -> Mapping[str, float]:
    """An actor that does nothing, from its creation to its first answer."""
    remote: Any = ray.remote(num_cpus=0)
    began = time.monotonic()
    actor = remote(_Bare).remote()
    ray.get(actor.answer.remote())
    took = time.monotonic() - began
    ray.kill(actor)
    return {"recovery_s": took}


class _Bare:
    def answer(self) -> None:
        """Nothing."""


def _replica_killed() -> Mapping[str, float]:
    killed: list[float] = []
    took: list[float] = []

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)

        def listen(report: Report) -> None:
            there = f"replica/{STRUCK}/loss" in report
            if killed and not there:
                took.append(time.monotonic())
            if took and there:
                took.append(time.monotonic())
                raise Seen
            if report["round"] == WARM:
                killed.append(time.monotonic())
                os.kill(int((folder / f"pid-{STRUCK}").read_text()), signal.SIGKILL)

        train(folder, listen)
    return {"recovery_s": took[-1] - killed[0]}


def _worker_killed() -> Mapping[str, float]:
    """The same model and pace; the whole group starts again."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        TorchTrainer(
            _torch_loop,
            train_loop_config={"folder": name},
            scaling_config=ScalingConfig(num_workers=NUM),
            run_config=RunConfig(
                name=folder.name,
                storage_path=name,
                failure_config=FailureConfig(max_failures=1),
            ),
        ).fit()
        killed, back = ((folder / one).read_text() for one in ("killed", "back"))
    return {"recovery_s": float(back) - float(killed)}


def _torch_loop(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    folder, rank = Path(config["folder"]), get_context().get_world_rank()
    killed = folder / "killed"
    again = killed.exists()
    module: nn.Module = prepare_model(LENET.model())
    optimizer = sgd(module.parameters())
    batches = iter(Paced(folder)(rank, NUM))
    for _ in range(1 if again else WARM * SYNC_EVERY):
        optimizer.zero_grad()
        torch.autograd.backward(LENET.loss(module, next(batches)))
        optimizer.step()
    if rank == STRUCK and not again:
        killed.write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == STRUCK:
        (folder / "back").write_text(str(time.time()))


def _rate(watched_s: float, slower: float = 1.0, stop: bool = False) -> Mapping[str, float]:
    """Steps of each other replica in the seconds from the moment that one is slow."""
    seen: list[float] = []

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)

        def listen(report: Report) -> None:
            now = time.monotonic()
            if report["round"] >= WARM:
                seen.append(now)
            if report["round"] == WARM:
                (folder / "slow").touch()
                if stop:
                    stand_still(int((folder / f"pid-{STRUCK}").read_text()), watched_s)
            if seen and now - seen[0] >= watched_s:
                raise Seen

        train(folder, listen, slower)
    return {"steps_per_s": (len(seen) - 1) * SYNC_EVERY / (seen[-1] - seen[0])}


def _actors() -> list[str]:
    named = ray.util.list_named_actors(all_namespaces=True)
    return [one["name"] for one in named if one["namespace"] == "parle_ray"]
