"""Interrupted runs go on from their last checkpoint, to the bits of an uninterrupted one."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.train import RunConfig

from dashboards import runs
from parle_ray import simulate
from parle_ray.errors import ClusterError, StorageError
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import Folder, open_folder
from parle_ray.strategies import Strategy
from tests.cluster import task
from tests.cluster.test_fit import STRATEGIES, master_of, nightly


class Unplugged(Exception):
    """Somebody pulled the plug."""


def unplug_at(round: int) -> Any:
    def listen(report: dict[str, Any]) -> None:
        if report["round"] == round:
            raise Unplugged

    return listen


SLOWER = [pytest.param(name, marks=nightly) for name in ("sgd", "auto_splash")]


@pytest.mark.parametrize("name", ["parle", *SLOWER])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(trainer: Any, name: str) -> None:
    stop_and_go_on(trainer, STRATEGIES[name])


def test_a_run_in_an_object_store_is_resumed_too(trainer: Any, bucket: str) -> None:
    uri = f"s3://key:secret@bucket/runs?{bucket}"
    config = RunConfig(name="run", storage_path=uri)
    result = stop_and_go_on(trainer, STRATEGIES["easgd"], run_config=config)
    assert result.filesystem.type_name == "s3"
    assert result.path == "bucket/runs/run"
    (table,) = runs.read([uri.replace("/runs?", "/runs/run?")]).values()
    assert list(table["round"]) == list(range(1, task.NUM_ROUNDS + 1))


def stop_and_go_on(trainer: Any, strategy: Strategy, **changes: Any) -> Any:
    """The result of a run that was cut off and started again; its bits are checked."""
    with pytest.raises(Unplugged):
        trainer(strategy, checkpoint_every=3, on_report=unplug_at(5), **changes).fit()
    seen: list[int] = []
    result = trainer(strategy, on_report=lambda r: seen.append(r["round"]), **changes).fit()
    outcome = simulate(strategy=strategy, num_replicas=2, **task.arguments())
    assert seen == list(range(4, task.NUM_ROUNDS + 1))
    assert torch.equal(master_of(result), outcome.master)
    assert list(result.metrics_dataframe["round"]) == list(range(1, task.NUM_ROUNDS + 1))
    return result


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(trainer: Any) -> None:
    result = trainer(STRATEGIES["parle"], checkpoint_every=4).fit()
    newest = Path(result.checkpoint.path)
    (newest / "master.safetensors").write_bytes(b"torn")
    seen: list[int] = []
    again = trainer(STRATEGIES["parle"], on_report=lambda r: seen.append(r["round"])).fit()
    assert seen == [5, 6, 7, 8]
    assert torch.equal(master_of(again), master_of(result))


def test_a_finished_run_is_not_trained_again(trainer: Any) -> None:
    first = trainer(STRATEGIES["parle"]).fit()
    seen: list[Any] = []
    second = trainer(STRATEGIES["parle"], on_report=seen.append).fit()
    assert seen == []
    assert second.metrics == first.metrics


def test_only_the_last_checkpoints_are_kept_and_one_that_fails_is_done_without(
    trainer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = checkpoint.save

    def full_at_four(run: Folder, round: int, **states: Any) -> None:
        if round == 4:
            raise StorageError("checkpoint_000004: No space left on device")
        save(run, round, **states)

    monkeypatch.setattr(checkpoint, "save", full_at_four)
    result = trainer(STRATEGIES["parle"], checkpoint_every=2).fit()
    said = capsys.readouterr().err
    assert re.search(r"No space left on device; it takes \d\.\d MB; the run goes on", said)
    assert said.count("No space") == said.count("the checkpoint is written again") == 1
    kept = checkpoint.names(open_folder(result.path))
    assert [checkpoint.round_of(name) for name in kept] == [6, 8]


def kill_replica_at(round: int, rank: int) -> Any:
    def listen(report: dict[str, Any]) -> None:
        if report["round"] == round:
            ray.kill(ray.get_actor(f"run/replica-{rank}", namespace="parle_ray"))

    return listen


@nightly
def test_a_killed_replica_is_replaced_and_the_others_go_on(trainer: Any) -> None:
    strategy = STRATEGIES["parle"]
    arguments = task.arguments() | {"num_rounds": 400}
    reports: list[dict[str, Any]] = []
    kill = kill_replica_at(5, rank=1)

    def listen(report: dict[str, Any]) -> None:
        reports.append(report)
        kill(report)

    result = trainer(strategy, 2, max_failures=-1, on_report=listen, **arguments).fit()
    alive = [report["replicas_alive"] for report in reports]
    assert len(reports) == 400
    assert min(alive) == 1
    assert alive[-1] == 2, "the replacement did not join"
    assert result.metrics["faults"] == 1
    assert result.metrics["accuracy"] > 0.9


@nightly
def test_a_run_of_one_replica_waits_for_its_replacement(trainer: Any) -> None:
    reports: list[dict[str, Any]] = []
    kill = kill_replica_at(5, rank=0)

    def listen(report: dict[str, Any]) -> None:
        reports.append(report)
        kill(report)

    trainer(STRATEGIES["local_sgd"], 1, max_failures=-1, on_report=listen, num_rounds=100).fit()
    assert [report["round"] for report in reports] == list(range(1, 101))
    assert all(report["replicas_alive"] == 1 for report in reports)
    assert reports[-1]["faults"] == 1


def test_without_failures_allowed_a_lost_replica_ends_the_run_and_it_can_be_resumed(
    trainer: Any,
) -> None:
    arguments = task.arguments() | {"num_rounds": 100}
    with pytest.raises(ClusterError, match=r"replica 1 was lost, .* FailureConfig"):
        trainer(
            STRATEGIES["parle"], checkpoint_every=4, on_report=kill_replica_at(5, 1), **arguments
        ).fit()
    result = trainer(STRATEGIES["parle"], **arguments).fit()
    assert result.metrics["round"] == 100
    shutil.rmtree(result.path)
