"""The callbacks of docs/dashboards.md: what they are told is found in the trackers."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

PAGE = (Path(__file__).parents[1] / "docs" / "dashboards.md").read_text()
TENSORBOARD, MLFLOW, WANDB = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

REPORTS = [
    {"round": 1, "step": 25, "loss": 0.5, "replica/1/loss": 0.25, "accuracy": None},
    {"round": 2, "step": 50, "loss": 0.125, "replica/1/loss": 0.0625, "accuracy": 0.75},
]


def tell(callback: Any) -> None:
    """As `ParleTrainer` does."""
    for report in REPORTS:
        callback.after_report(None, [report], None)


def events(folder: Path) -> Iterator[Event]:
    """What a file of TensorBoard holds: length, its checksum, an event and its checksum, again."""
    (file,) = folder.glob("events.*")
    content = file.read_bytes()
    at = 0
    while at < len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        yield Event.FromString(content[at + 12 : at + 12 + size])
        at += size + 16


def test_tensorboard_has_every_number_of_every_round(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(TENSORBOARD, names)
    board = names["TensorBoard"](str(tmp_path))
    tell(board)
    board.writer.close()
    found = {
        (value.tag, event.step): value.simple_value
        for event in events(tmp_path)
        for value in event.summary.value
    }
    told = {
        (name, report["step"]): value
        for report in REPORTS
        for name, value in report.items()
        if value is not None
    }
    assert found == told


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")
def test_mlflow_has_every_number_of_every_round(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    names: dict[str, Any] = {}
    exec(TENSORBOARD + MLFLOW, names)
    tell(names["MLflow"](f"sqlite:///{tmp_path}/mlflow.db", "mine"))
    run = mlflow.active_run()
    mlflow.end_run()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "replica/1/loss")
    assert [(point.step, point.value) for point in history] == [(25, 0.25), (50, 0.0625)]


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")
def test_wandb_has_the_numbers_of_the_last_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names: dict[str, Any] = {}
    exec(TENSORBOARD + WANDB, names)
    tracker = names["WeightsAndBiases"](project="parle", mode="offline", dir=str(tmp_path))
    tell(tracker)
    summary = dict(tracker.run.summary)
    tracker.run.finish()
    assert {name: summary[name] for name in REPORTS[1]} == REPORTS[1]
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
