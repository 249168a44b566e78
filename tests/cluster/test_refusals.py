"""What cannot work is refused within seconds, in one message that says what to change."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.train import RunConfig, ScalingConfig
from torch import nn

from parle_ray import ParleTrainer
from parle_ray.cluster.connect import connect
from parle_ray.errors import Diverged, InputError, UserCodeError
from parle_ray.strategies import Parle
from tests.cluster import task

PARLE = Parle(sync_every=2)


nightly = partial(pytest.param, marks=pytest.mark.nightly)


def any_loss(module: nn.Module, batch: Any) -> torch.Tensor:
    """A loss that takes any batch."""
    return next(module.parameters()).sum()


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (ScalingConfig(num_workers=3, use_gpu=True), r"3 replicas of .*1 GPU.* have .*0 GPU"),
        (ScalingConfig(num_workers=9, resources_per_worker={"CPU": 1}), r"9 replicas of 1 CPU"),
        (ScalingConfig(num_workers=1, resources_per_worker={"tpu_pod": 1}), r"1 tpu_pod"),
        (ScalingConfig(num_workers=2, placement_strategy="STRICT_SPREAD"), r"STRICT_SPREAD"),
    ],
)
def test_more_than_the_cluster_has(trainer: Any, scaling: ScalingConfig, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer(PARLE, scaling_config=scaling).fit()


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".hidden", "x" * 65])
def test_a_run_name_that_is_a_path(trainer: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="plain name"):
        trainer(PARLE, run_config=RunConfig(name=name, storage_path=str(tmp_path))).fit()


def test_a_storage_path_that_cannot_be_written(trainer: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    config = RunConfig(name="run", storage_path=str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"storage_path: .* cannot be written"):
        trainer(PARLE, run_config=config).fit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        nightly({"model_fn": nn.ReLU}, "ReLU has no trainable parameter"),
        nightly({"model_fn": lambda: 3}, "model_fn must return a torch.nn.Module, got int"),
        nightly(
            {"loss_fn": lambda module, batch: module(batch[0])}, r"scalar tensor .* shape \(32, 3\)"
        ),
        nightly({"batches_fn": lambda rank, n: [], "loss_fn": any_loss}, r"replica \d are empty"),
        (
            {"batches_fn": lambda rank, n: [1] * (1 - rank), "loss_fn": any_loss},
            "batches of replica 1 are empty",
        ),
    ],
)
def test_functions_that_do_not_do_their_part(
    trainer: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        trainer(PARLE, **changes).fit()


def test_a_function_that_cannot_be_sent(trainer: Any) -> None:
    lock = threading.Lock()
    with pytest.raises(InputError, match=r"evaluate_fn cannot be sent .*lock"):
        trainer(PARLE, evaluate_fn=lambda module: {"locked": lock.locked()}).fit()


def test_an_error_of_the_users_code_arrives_with_its_traceback(trainer: Any) -> None:
    def loss_fn(module: nn.Module, batch: Any) -> torch.Tensor:
        raise KeyError("the user's own mistake")

    with pytest.raises(UserCodeError, match=r"(?s)replica \d, round 0: KeyError.*in loss_fn"):
        trainer(PARLE, loss_fn=loss_fn).fit()


def test_a_run_that_diverges_says_so(trainer: Any) -> None:
    def explode(module: nn.Module, batch: Any) -> torch.Tensor:
        return next(module.parameters()).sum() * float("inf")

    with pytest.raises(Diverged, match="lower the learning rate"):
        trainer(PARLE, loss_fn=explode).fit()


def test_a_name_that_is_running_already(trainer: Any) -> None:
    problems: list[BaseException] = []

    def start_the_same_again(report: dict[str, Any]) -> None:
        if report["round"] == 1:
            with pytest.raises(InputError, match="'run' is under way") as caught:
                trainer(PARLE).fit()
            problems.append(caught.value)

    trainer(PARLE, on_report=start_the_same_again).fit()
    assert len(problems) == 1


def test_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=r"nothing listens at 127\.0\.0\.1:9"):
        connect("127.0.0.1:9")


def test_too_few_replicas_are_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match=r"num_workers must be a whole number >= 1, .*got 0"):
        ParleTrainer(
            strategy=PARLE, scaling_config=ScalingConfig(num_workers=0), **task.arguments()
        )
