"""The coordinator's peak memory, for more and more replicas."""

import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from jobs.benchmarks.harness import Benchmark, Case
from jobs.benchmarks.ours import cluster, train
from jobs.benchmarks.problems import Vector

NUM_PARAMS = 4_000_000
ROUNDS = 10
PERIOD_S = 0.002


def benchmark(quick: bool) -> Benchmark:
    """Replicas share the CPUs: nothing here depends on how fast they are."""
    counts = (1, 2, 4) if quick else (1, 2, 4, 8, 16)
    num_params = NUM_PARAMS // 10 if quick else NUM_PARAMS
    return Benchmark(
        title=f"Peak memory of the coordinator's process; a vector is {4e-6 * num_params:g} MB",
        quantities={
            "own_mb": "memory of its own at the peak (RssAnon, every 2 ms), MB",
            "resident_mb": "VmHWM, in which pages of the object store that it read count too, MB",
        },
        cases=[
            Case(
                name=f"{num_params / 1e6:g} M parameters",
                contestants={f"n={n}": partial(_peak, n, num_params) for n in counts},
                bases=("n=1",),
            )
        ],
        repeats=1 if quick else 3,
        against="difference",
        surroundings=cluster,
    )


def _peak(num_replicas: int, num_params: int) -> Mapping[str, float]:
    with Watch() as watch:
        train(
            Vector(num_params=num_params),
            num_replicas=num_replicas,
            num_rounds=ROUNDS,
            sync_every=2,
            cpus=0.1,
            on_coordinator=watch.follow,
        )
    return {"own_mb": watch.own_kb / 1e3, "resident_mb": watch.resident_kb / 1e3}


class Watch:
    """Looks at a process, from the moment it is told which, until it is gone or we are done."""

    def __init__(self) -> None:
        self.own_kb = self.resident_kb = 0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        if self._thread:
            self._thread.join()

    def follow(self, pid: int) -> None:
        self._thread = threading.Thread(target=self._look, args=(pid,), daemon=True)
        self._thread.start()

    def _look(self, pid: int) -> None:
        while not self._done.is_set():
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            status = dict(line.split(":", 1) for line in text.splitlines())
            if "VmHWM" not in status:
                return  # a zombie
            self.own_kb = max(self.own_kb, int(status["RssAnon"].split()[0]))
            self.resident_kb = max(self.resident_kb, int(status["VmHWM"].split()[0]))
            time.sleep(PERIOD_S)
