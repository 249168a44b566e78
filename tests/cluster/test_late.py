"""A replica that stands still for a while: the others go on, and it comes back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from parle_ray.membership.patience import Patience
from parle_ray.strategies import Parle
from tests.cluster import task


def test_rounds_close_without_a_replica_that_stands_still(trainer: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    x, labels = task.data()

    class Stopping:
        """Endless batches; the twentieth comes when somebody writes to the gate."""

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for i in range(10**6):
                if i == 20:
                    gate.read_text()
                yield x[:32], labels[:32]

    def batches_fn(rank: int, num_replicas: int) -> Any:
        return Stopping() if rank == 1 else [(x[:32], labels[:32])]

    alone: list[int] = []
    together: list[int] = []

    def listen(report: dict[str, Any]) -> None:
        assert (report["replicas_alive"], report["faults"]) == (2, 0)
        if alone and report["merged"] == 2:  # its late push counts, or is skipped for a newer one
            together.append(report["round"])
        elif report["merged"] == 1:
            if not alone:
                gate.write_text("go on")
            alone.append(report["round"])

    trainer(
        Parle(sync_every=4),
        shards=2,
        batches_fn=batches_fn,
        num_rounds=400,
        patience=Patience(purse_s=2.0, full_s=2.0),
        on_report=listen,
    ).fit()
    assert alone[0] == 6, "batch 20 is the first of the sixth round"
    assert together[0] > alone[0]
    assert together[-50:] == list(range(351, 401)), "it is waited for again"
