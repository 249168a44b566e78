"""Ray Data sets as a run's data: Parquet files and images, read by the replicas."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data
import torch
from PIL import Image
from torch import Tensor, nn

from parle_ray import simulate
from parle_ray.integrations.ray_data import RayData
from parle_ray.strategies import Parle
from tests.cluster import task
from tests.cluster.test_fit import master_of
from tests.cluster.test_resume import Unplugged, unplug_at

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.filterwarnings("default"),  # Ray Data's own, as it copies its settings
]
PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
STRATEGY = Parle(sync_every=4)


def write_parquet(folder: Path) -> None:
    """The points of the task in two files: a list of numbers and a class in each row."""
    x, labels = task.data()
    folder.mkdir()
    for number, part in enumerate(torch.arange(len(x)).chunk(2)):
        columns = {"x": x[part].tolist(), "label": labels[part].tolist()}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")


@pytest.mark.parametrize("split", [False, True], ids=["all rows", "split"])
def test_parquet_is_resumed_to_the_bits_of_simulate(
    trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    def loss_fn(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(module(batch["x"]), batch["label"])

    # Reads footers in actors of their own, which take longer to start than all else here.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "use_datasource_v2", False)
    write_parquet(tmp_path / "points")
    data = RayData(
        ray.data.read_parquet(str(tmp_path / "points"), override_num_blocks=2).materialize(),
        batch_size=48,
        shuffle_rows=64,
        split=split,
        dtypes={"x": torch.float32, "label": torch.int64},
    )
    changes = {"batches_fn": data, "loss_fn": loss_fn, "evaluate_fn": None}
    with pytest.raises(Unplugged):
        trainer(STRATEGY, checkpoint_every=3, on_report=unplug_at(5), **changes).fit()
    result = trainer(STRATEGY, **changes).fit()
    outcome = simulate(strategy=STRATEGY, num_replicas=2, **(task.arguments() | changes))
    assert torch.equal(master_of(result), outcome.master)
    reports = result.metrics_dataframe
    assert list(reports["round"]) == list(range(1, task.NUM_ROUNDS + 1))
    assert reports["loss"].iloc[-1] < 0.7 * reports["loss"].iloc[0]


def test_the_images_of_the_page_train(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(16):
        side = tmp_path / "photos" / ("cats" if number % 2 else "dogs")
        side.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), 40 + 120 * (number % 2) + number, np.uint8)
        Image.fromarray(pixels).save(side / f"{number}.png")
    monkeypatch.setattr("ray.train.constants.DEFAULT_STORAGE_PATH", str(tmp_path))
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "RayData" in b)
    names: dict[str, Any] = {"photos": str(tmp_path / "photos"), "storage": str(tmp_path / "runs")}
    exec(block, names)
    reports = names["result"].metrics_dataframe
    assert reports["loss"].iloc[-1] < 0.5 * reports["loss"].iloc[0]
