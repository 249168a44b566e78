"""The scripts of docs/migration.md: a loop with DDP, and what it becomes."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests import torchrun

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()
BEFORE, AFTER, *_ = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment that torchrun gives the only process."""
    torchrun.join(monkeypatch, RANK="0", WORLD_SIZE="1")
    yield
    dist.destroy_process_group()


def loader() -> list[tuple[Tensor, Tensor]]:
    """Images in CIFAR's shape that tell their class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(8) % 2
    images = torch.randn(8, 3, 32, 32, generator=generator) + 3.0 * labels[:, None, None, None]
    return [(images, labels)] * 2


def test_a_strangers_loop_takes_five_changed_lines() -> None:
    lines = difflib.ndiff(BEFORE.splitlines(), AFTER.splitlines())
    added = [line for line in lines if line.startswith("+ ")]
    assert 0 < len(added) <= 5


@pytest.mark.parametrize("script", [BEFORE, AFTER], ids=["before", "after"])
def test_it_runs_as_it_stands(launched: None, script: str) -> None:
    def evaluate(model: nn.Module) -> float:
        return sum(float(p.detach().abs().sum()) for p in model.parameters())

    names: dict[str, Any] = {"loader": loader(), "epochs": 2, "evaluate": evaluate}
    exec(script, names)
    assert 0.0 < names["error"] < float("inf")
    assert torch.isfinite(names["loss"])
