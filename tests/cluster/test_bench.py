"""A benchmark end to end: on a cluster, beside rivals in processes of their own."""

import json
from pathlib import Path
from typing import Any

from jobs import bench


def test_an_exchange_is_measured_beside_gloo_and_memcpy(cluster: None, tmp_path: Path) -> None:
    assert bench.main(["exchange", "--quick", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "exchange.json").read_text())
    samples: list[dict[str, Any]] = told["samples"]
    assert {sample["contestant"] for sample in samples} == {
        "Parle (ours), hidden",
        "local SGD (ours), waited for",
        "the same calls on bare Ray",
        "gloo all-reduce",
        "memcpy",
    }
    assert all(sample["value"] is not None for sample in samples)
