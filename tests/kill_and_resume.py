"""A job killed again and again ends with the bits of one that was left alone.

python -m tests.kill_and_resume --seeds 20 --kills 1

For each seed a job, with a cluster of its own, is killed with SIGKILL at random moments after a new
checkpoint, all its processes at once, and started again, until it is through; then the
SHA-256 of `model.safetensors` is held against the uninterrupted run's. Prints a table in Markdown;
the exit status is 1 if any digest differs.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from parle_ray.runs import checkpoint
from parle_ray.runs.reports import read
from parle_ray.runs.storage import open_folder

MARK = "PARLE_KILL_AND_RESUME"
"""In the environment of a job, by which all its processes are known."""
NUM_ROUNDS = 400
EVERY = 20
LIMIT_S = 300.0
LONGEST_S = 3.0
"""After which a job is killed at the latest, from its first new checkpoint on."""


def job(storage: str) -> None:
    """What is killed: three replicas on a cluster of their own."""
    import ray
    from ray.train import RunConfig, ScalingConfig

    from parle_ray import ParleTrainer
    from parle_ray.strategies import Parle
    from tests.cluster import task

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    trainer = ParleTrainer(
        **task.arguments() | {"num_rounds": NUM_ROUNDS},
        strategy=Parle(sync_every=4),
        checkpoint_every=EVERY,
        scaling_config=ScalingConfig(num_workers=3),
        run_config=RunConfig(name="run", storage_path=storage),
        on_report=lambda report: None,
    )
    task.patient(trainer).fit()


def start(storage: Path) -> subprocess.Popen[bytes]:
    """The job, as the leader of a session of its own."""
    with (storage / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.kill_and_resume", "--job", str(storage)],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=os.environ | {MARK: str(storage)},
        )


def kill(storage: Path) -> None:
    """SIGKILL to every process that descends from this job, Ray's included."""
    mark = f"{MARK}={storage}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:  # it has just ended
            continue


def newest(storage: Path) -> int:
    """The round of the last checkpoint; 0 without one."""
    names = checkpoint.names(open_folder(storage / "run"))
    return checkpoint.round_of(names[-1]) if names else 0


def digest(storage: Path) -> str:
    """SHA-256 of the model of the last checkpoint."""
    name = checkpoint.names(open_folder(storage / "run"))[-1]
    model = storage / "run" / name / "model.safetensors"
    return hashlib.sha256(model.read_bytes()).hexdigest()


def run(storage: Path, rng: random.Random, num_kills: int) -> list[int]:
    """A job killed so many times at most; the last rounds that it had closed when it was."""
    storage.mkdir()
    killed: list[int] = []
    while True:
        before, process = newest(storage), start(storage)
        began, moment = time.monotonic(), None
        try:
            while process.poll() is None:
                assert time.monotonic() - began < LIMIT_S, (storage / "log").read_text()
                if moment is None and newest(storage) > before and len(killed) < num_kills:
                    moment = time.monotonic() + rng.uniform(0.0, LONGEST_S)
                if moment is not None and time.monotonic() >= moment:
                    break
                time.sleep(0.01)
        finally:
            kill(storage)
            status = process.wait()
        if status == 0:
            return killed
        assert status == -signal.SIGKILL, (storage / "log").read_text()
        killed.append(len(read(open_folder(storage / "run"))))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_and_resume", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5, help="of each job, while it is there")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.job:
        job(arguments.job)
        return 0
    with tempfile.TemporaryDirectory(prefix="parle-") as root:
        run(Path(root, "whole"), random.Random(0), 0)
        expected, same = digest(Path(root, "whole")), True
        print(f"uninterrupted: {expected}\n\n| seed | killed after round | model |\n|---|---|---|")
        for seed in range(arguments.seeds):
            rng = random.Random(seed)
            killed = run(Path(root, str(seed)), rng, arguments.kills)
            found = digest(Path(root, str(seed)))
            same &= found == expected
            rounds = ", ".join(map(str, killed))
            verdict = "same" if found == expected else f"differs: {found}"
            print(f"| {seed} | {rounds} | {verdict} |", flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
