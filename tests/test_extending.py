"""The code of docs/extending.md: a strategy of one's own, from its definition to a run."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from parle_ray.console.arguments import make_parser, read
from parle_ray.errors import InputError
from parle_ray.strategies import LocalSGD
from tests.problems import run

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def names(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"__name__": "mine"}
    for block in BLOCKS:
        exec(block, made)
    return made


def test_the_strategy_of_the_page_trains(names: dict[str, Any]) -> None:
    history = names["outcome"].history
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_all_the_way_it_is_local_sgd_and_a_wrong_value_is_refused(names: dict[str, Any]) -> None:
    lookahead = names["Lookahead"]
    ours, theirs = run(lookahead(sync_every=3, alpha=1.0)), run(LocalSGD(sync_every=3))
    torch.testing.assert_close(ours.master, theirs.master, rtol=0.0, atol=1e-14)
    assert not torch.allclose(run(lookahead(sync_every=3)).master, theirs.master)
    with pytest.raises(InputError, match="alpha must be > 0 and <= 1, got 2"):
        lookahead(alpha=2)


def test_the_command_line_takes_it_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_lookahead.py").write_text(BLOCKS[0])
    monkeypatch.syspath_prepend(tmp_path)
    argv = ["--num_rounds=1", "--strategy=my_lookahead.Lookahead", "--strategy.alpha=0.8"]
    config, _ = read(make_parser("train", ""), argv)
    assert re.fullmatch(r"Lookahead\(sync_every=6, .*, alpha=0.8\)", repr(config.strategy))
