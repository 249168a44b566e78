"""A job killed again and again ends with the bits of one that was left alone.

python -m tests.kill_and_resume --seeds 20
python -m tests.kill_and_resume --seeds 1 --kills 5 --exactly

For each seed a job is killed with SIGKILL, its driver and all of its actors at once, at a random
round after its first new checkpoint, and started again, until it is through; then the SHA-256 of
`model.safetensors` is held against the uninterrupted run's. Prints a table in Markdown; the exit
status is 1 if any digest differs.

One cluster serves all jobs, and a driver is a fork of this process, which has imported torch and
Ray already: so a start takes the time of its actors.
"""

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray
import torch
from ray.train import RunConfig, ScalingConfig

from parle_ray import ParleTrainer
from parle_ray.membership.patience import Patience
from parle_ray.runs import checkpoint
from parle_ray.strategies import Parle
from tests.cluster import task

MARK = "PARLE_KILL_AND_RESUME"
"""In the environment of a cluster, by which its processes are known."""
NUM_REPLICAS = 2
NUM_ROUNDS = 300
EVERY = 10
LIMIT_S = 300.0
OTHERS = (b"ray::IDLE", b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Children of a raylet that are no actors; it ends with its agents."""
FURTHER = 20
"""Rounds after which a job is killed at the latest, from its first new checkpoint on."""


def job(address: str, storage: Path) -> None:
    """What is killed: two replicas, a coordinator, an evaluator and their driver."""
    torch.set_num_threads(1)
    ray.init(address=address, log_to_driver=False)
    trainer = ParleTrainer(
        **task.arguments() | {"num_rounds": NUM_ROUNDS},
        strategy=Parle(sync_every=4),
        checkpoint_every=EVERY,
        scaling_config=ScalingConfig(num_workers=NUM_REPLICAS),
        run_config=RunConfig(name=storage.name, storage_path=str(storage.parent)),
        on_report=lambda report: None,
    )
    # A busy machine must not decide who is in time.
    trainer._task = replace(trainer._task, patience=Patience(floor_s=60.0))
    trainer.fit()


def forked(run: Callable[[], None], log: Path) -> int:
    """A child process, the leader of a session, that runs this; its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@contextmanager
def cluster(root: Path) -> Iterator[str]:
    """A Ray cluster of a process of its own; its address."""
    told = root / "address"

    def hold() -> None:
        os.environ[MARK] = str(root)
        context = ray.init(
            address="local", num_cpus=4, include_dashboard=False, log_to_driver=False
        )
        (root / "draft").write_text(context.address_info["gcs_address"])
        os.rename(root / "draft", told)
        signal.pause()

    pid, began = forked(hold, root / "cluster.log"), time.monotonic()
    try:
        while not told.exists():
            assert time.monotonic() - began < LIMIT_S, (root / "cluster.log").read_text()
            time.sleep(0.05)
        yield told.read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def actors(root: Path) -> list[int]:
    """The processes of this cluster that are at work, by what the raylet's children are called."""
    mark, raylets, workers = f"{MARK}={root}".encode(), set(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            title = (entry / "cmdline").read_bytes()
            if name[0] == "raylet" and mark in (entry / "environ").read_bytes().split(b"\0"):
                raylets.add(int(entry.name))
            elif title.startswith(b"ray::") and not title.startswith(OTHERS):
                workers.append((int(entry.name), int(name[2].split()[1])))
        except OSError:  # it has just ended
            continue
    return [pid for pid, parent in workers if parent in raylets]


def names(storage: Path) -> list[str]:
    """The checkpoints, the newest last."""
    return sorted(folder.name for folder in storage.glob(f"{checkpoint.PREFIX}*"))


def newest(storage: Path) -> int:
    """The round of the last checkpoint; 0 without one."""
    return checkpoint.round_of(names(storage)[-1]) if names(storage) else 0


def reported(storage: Path) -> int:
    """The rounds in `result.json`."""
    file = storage / "result.json"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def digest(storage: Path) -> str:
    """SHA-256 of the model of the last checkpoint."""
    model = storage / names(storage)[-1] / "model.safetensors"
    return hashlib.sha256(model.read_bytes()).hexdigest()


def run(root: Path, address: str, name: str, rng: random.Random, num_kills: int) -> list[int]:
    """A job killed so many times at most; the last rounds that it had closed when it was."""
    storage, log = root / "runs" / name, root / f"{name}.log"
    killed: list[int] = []
    while True:
        before, further = newest(storage), rng.randint(0, FURTHER)
        pid, began = forked(lambda: job(address, storage), log), time.monotonic()
        target, status = None, None
        while status is None:
            assert time.monotonic() - began < LIMIT_S, log.read_text()
            if target is None and newest(storage) > before and len(killed) < num_kills:
                target = newest(storage) + further
            if target is not None and reported(storage) >= target:
                for victim in [pid, *actors(root)]:
                    os.kill(victim, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                break
            ended, code = os.waitpid(pid, os.WNOHANG)
            status = code if ended else None
            time.sleep(0.005)
        if status == 0:
            return killed
        assert os.WIFSIGNALED(status), log.read_text()
        killed.append(reported(storage))
        while actors(root):
            time.sleep(0.05)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_and_resume", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="of the seeds")
    parser.add_argument("--kills", type=int, default=2, help="in one run, at most")
    parser.add_argument("--exactly", action="store_true", help="in each run so many")
    arguments = parser.parse_args(argv)
    if os.environ.get("RAY_AUTH_MODE") != "token":  # which Ray reads when it is imported
        again = [sys.executable, "-m", "tests.kill_and_resume", *(argv or sys.argv[1:])]
        os.execve(sys.executable, again, os.environ | {"RAY_AUTH_MODE": "token"})
    began, same = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="parle-") as folder, cluster(Path(folder)) as address:
        root = Path(folder)
        run(root, address, "whole", random.Random(0), 0)
        expected = digest(root / "runs" / "whole")
        print(f"uninterrupted: {expected}\n\n| seed | killed after round | model |\n|---|---|---|")
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            rng = random.Random(seed)
            most = arguments.kills if arguments.exactly else rng.randint(1, arguments.kills)
            killed = run(root, address, f"seed{seed}", rng, most)
            found = digest(root / "runs" / f"seed{seed}")
            same += found == expected and len(killed) == most
            rounds = ", ".join(map(str, killed))
            verdict = "same" if found == expected else f"differs: {found}"
            print(f"| {seed} | {rounds} | {verdict} |", flush=True)
    print(f"\n{same} of {arguments.seeds} the same, {time.monotonic() - began:.0f} s")
    return 0 if same == arguments.seeds else 1


if __name__ == "__main__":
    sys.exit(main())
