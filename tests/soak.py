"""A long run whose processes must not grow: memory, open files, threads, the object store.

    python -m tests.soak --rounds 20000 --out soak.parquet

One run on a cluster of its own, looked at every hundredth of its length. Of each process and
quantity the median of the last quarter is held against that of the second; the exit status is 1 if
one of them has grown by more than `--tolerance`. Prints a table in Markdown.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MARK = "PARLE_SOAK"
"""In the environment of the run, by which all its processes are known."""
ROLES = ("Coordinator", "ReplicaActor", "EvaluatorActor", "raylet", "gcs_server")
QUANTITIES = {"memory_mb": 1.0, "open_files": 0.0, "threads": 0.0}
"""What is counted of each process -> growth that is always allowed, in its unit."""
LOOKS = 100


def processes() -> Iterator[tuple[str, int]]:
    """Role and number of each process that matters."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:  # it has just ended
            continue
        role = next((role for role in ROLES if role in title), None)
        if marked and role:
            yield role, int(entry.name)
    yield "driver", os.getpid()


def look(round: int) -> Iterator[dict[str, Any]]:
    """A row for each process, and one for the object store."""
    for role, pid in processes():
        folder = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        yield {
            "round": round,
            "process": f"{role} {pid}",
            "memory_mb": int(status["RssAnon"].split()[0]) / 1024,
            "open_files": len(list((folder / "fd").iterdir())),
            "threads": int(status["Threads"]),
        }
    yield {"round": round, "process": "object store", "memory_mb": store_bytes() / 2**20}


def store_bytes() -> int:
    """In use, of the store of this machine."""
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return int(get_memory_info_reply(state).store_stats.object_store_bytes_used)


def run(num_rounds: int, storage: str) -> pd.DataFrame:
    """What was seen."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from torch import nn

    from parle_ray import ParleTrainer
    from parle_ray.strategies import Parle
    from tests.cluster import task

    every, rows = max(1, num_rounds // LOOKS), []

    def model_fn() -> nn.Module:
        """Large enough for its vectors to lie in the object store, which small ones do not."""
        return nn.Sequential(nn.Linear(10, 3000), nn.ReLU(), nn.Linear(3000, 3))

    def listen(report: dict[str, Any]) -> None:
        if report["round"] % every == 0:
            rows.extend(look(report["round"]))

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
    )
    ParleTrainer(
        **task.arguments() | {"num_rounds": num_rounds, "model_fn": model_fn},
        strategy=Parle(sync_every=4),
        checkpoint_every=max(1, num_rounds // 40),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="run", storage_path=storage),
        on_report=listen,
    ).fit()
    return pd.DataFrame(rows)


def compare(seen: pd.DataFrame, tolerance: float) -> Iterator[tuple[str, str, float, float, bool]]:
    """Process, quantity, median of the second and of the last quarter, whether it has grown."""
    last = seen["round"].max()
    for process, rows in seen.groupby("process"):
        for quantity, allowed in QUANTITIES.items():
            values = rows.dropna(subset=[quantity])
            second = values[(values["round"] > last / 4) & (values["round"] <= last / 2)][quantity]
            fourth = values[values["round"] > last * 3 / 4][quantity]
            if second.empty or fourth.empty:
                continue
            before, after = statistics.median(second), statistics.median(fourth)
            grown = after - before > max(allowed, tolerance * before)
            yield str(process), quantity, before, after, grown


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--out", type=Path, help="Parquet, one row a process and look")
    arguments = parser.parse_args(argv)
    os.environ[MARK] = str(os.getpid())
    with tempfile.TemporaryDirectory(prefix="parle-") as storage:
        seen = run(arguments.rounds, storage)
    if arguments.out:
        seen.to_parquet(arguments.out)
    print("| process | quantity | second quarter | last quarter | |\n|---|---|---|---|---|")
    flat = True
    for process, quantity, before, after, grown in compare(seen, arguments.tolerance):
        flat &= not grown
        verdict = "grown" if grown else "flat"
        print(f"| {process} | {quantity} | {before:.1f} | {after:.1f} | {verdict} |")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
