"""A checkpoint that does not fit is refused with the reason; what differs otherwise is said."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.exceptions import ObjectLostError
from torch import nn

from parle_ray.cluster.wire import Packed
from parle_ray.errors import InputError, StorageError
from parle_ray.runs import checkpoint, keeper
from parle_ray.runs.attempts import Attempts
from parle_ray.runs.resume import newest
from parle_ray.runs.spec import changes, spec
from parle_ray.runs.storage import Folder, open_folder
from parle_ray.strategies import ElasticSGD, Parle
from parle_ray.task import Task
from tests.cuts import Crew
from tests.problems import Pieces, sgd, task

RESOURCES = {"CPU": 1.0}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no power is cut here
    folder = open_folder(tmp_path, "run")
    folder.make()
    return folder


def decayed(inner: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(inner, 0.5)


def write(run: Folder, given: Task, rounds: list[int], **config: Any) -> None:
    crew = Crew(given.fitted_to(3))
    for round in rounds:
        crew.play(round - crew.master.round)
        checkpoint.save(run, round, spec=spec(given, config, RESOURCES), **crew.cut())


def go_on(run: Folder, given: Task, **config: Any) -> tuple[int, list[str]]:
    """The round and what was said."""
    said: list[str] = []
    return newest(run, given, spec(given, config, RESOURCES), said.append)[0], said


def test_without_a_checkpoint_a_run_starts_anew(run: Folder) -> None:
    assert go_on(run, task(Parle())) == (0, [])


def test_the_same_task_goes_on_without_another_word(run: Folder) -> None:
    given = task(Parle(), lr_scheduler_fn=decayed, inner_optimizer_fn=sgd(momentum=0.9))
    write(run, given, [1, 2], data={"batch_size": 8})
    round, said = go_on(run, given, data={"batch_size": 8}, storage_path="elsewhere")
    assert round == 2
    assert said == [f"going on from {run}/checkpoint_000002"]


def test_a_damaged_checkpoint_is_passed_over_with_the_reason(run: Folder) -> None:
    write(run, task(Parle()), [1, 2])
    (Path(run.path) / "checkpoint_000002" / "master.safetensors").write_bytes(b"torn")
    round, said = go_on(run, task(Parle()))
    assert round == 1
    assert said[0].endswith("master.safetensors is damaged (its SHA-256 differs); passed over")


class Wider(nn.Linear):
    def __init__(self) -> None:
        super().__init__(7, 1, bias=False, dtype=torch.float64)


class Longer(Pieces):
    """The same number of parameters, in other pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Parameter(self.row.detach().reshape(1, 1))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"strategy": ElasticSGD()}, "was made by the strategy Parle, not ElasticSGD"),
        ({"strategy": Parle(reference="mean_z")}, r"coordinator of Parle\(.* other vectors"),
        ({"model_fn": Wider}, r"matrix is float64 \(2, 2\) there and absent in model_fn's"),
        ({"model_fn": Longer}, r"row is float64 \(1,\) there and float64 \(1, 1\)"),
        ({"model_fn": lambda: Pieces().float()}, r"is float64 .* and float32"),
        (
            {"model_fn": lambda: _frozen(Pieces())},
            "6 trained parameters of float64 there and 5 of float64",
        ),
        ({"inner_optimizer_fn": torch.optim.Adam}, "gives another optimiser"),
        (
            {"inner_optimizer_fn": lambda p: torch.optim.SGD([{"params": [q]} for q in p], lr=1)},
            "groups the parameters otherwise",
        ),
        ({"lr_scheduler_fn": decayed}, "lr_scheduler_fn gives another schedule"),
    ],
)
def test_what_does_not_fit_is_refused_and_no_run_starts_over_it(
    run: Folder, other: dict[str, Any], reason: str
) -> None:
    write(run, task(Parle()), [1, 2])
    changed = task(
        other.get("strategy", Parle()), **{k: other[k] for k in other if k != "strategy"}
    )
    with pytest.raises(InputError, match=f"(?s)000002: .*{reason}.*000001: .*{reason}") as refusal:
        go_on(run, changed)
    assert "none that can be used" in str(refusal.value)
    assert "another name to start anew, or remove the folder" in str(refusal.value)


def _frozen(module: Pieces) -> Pieces:
    module.scalar.requires_grad_(False)
    return module


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"num_replicas": 3}, "num_replicas was 2, is 3"),
        ({"num_replicas": 1}, "num_replicas was 2, is 1"),
        ({"seed": 5}, "seed was 0, is 5"),
        ({"compression": "int8"}, "compression was none, is int8"),
        ({"num_rounds": 9}, "num_rounds was 3, is 9"),
        ({"strategy": Parle(rho=2.0)}, "strategy.rho was 4.0, is 2.0"),
        (
            {"inner_optimizer_fn": sgd(0.05)},
            "the optimiser goes on with lr 0.1 as saved, not 0.05",
        ),
    ],
)
def test_what_differs_and_fits_is_said_and_the_run_goes_on(
    run: Folder, other: dict[str, Any], said: str
) -> None:
    write(run, task(Parle()), [1])
    changed = task(
        other.get("strategy", Parle()), **{k: other[k] for k in other if k != "strategy"}
    )
    lines: list[str] = []
    round, resume = newest(run, changed, spec(changed, {}, RESOURCES), lines.append)
    assert round == 1
    assert lines[1:] == [f"not the bits of an uninterrupted run: {said}"]
    crew = Crew(changed.fitted_to(3), resume)
    crew.play(2)
    assert torch.isfinite(crew.bits()).all()


def test_settings_of_the_command_line_and_of_the_machine_are_compared_too() -> None:
    given = task(Parle())
    was = spec(given, {"data": {"batch_size": 8, "name": "digits"}, "name": "a"}, {"CPU": 1})
    now = spec(given, {"data": {"batch_size": 9, "name": "digits"}, "name": "b"}, {"CPU": 2})
    assert changes(was, now) == ["data.batch_size was 8, is 9", "machine.threads was 1, is 2"]


def test_a_setting_that_an_older_release_did_not_have_was_at_its_default() -> None:
    was, now = {"seed": 0}, {"seed": 0, "execution.num_processes": 1}
    assert changes(was, now) == []
    now["execution.num_processes"] = 2
    assert changes(was, now) == ["execution.num_processes was 1, is 2"]


def test_storage_may_fail_twice_in_a_row_and_is_complained_of_once() -> None:
    said: list[str] = []
    attempts = Attempts("checkpoint", said.append)

    def fail() -> None:
        raise StorageError("it is full")

    for _ in range(2):
        assert not attempts.make(fail)
        assert not attempts.make(fail)
        assert attempts.make(lambda: None)
    assert said == 2 * [
        "it is full; the run goes on, and the next checkpoint is tried",
        "the checkpoint is written again",
    ]
    assert not attempts.make(fail)
    assert not attempts.make(fail)
    with pytest.raises(StorageError, match="it is full; checkpoint: 3 failures in a row"):
        attempts.make(fail)


def test_a_failing_last_attempt_is_one_too_many() -> None:
    def fail() -> None:
        raise StorageError("it is full")

    with pytest.raises(StorageError, match="it is full"):
        Attempts("checkpoint", print).make(fail, last=True)


@pytest.mark.parametrize("failures", [0, 2, 9])
def test_the_last_checkpoint_is_tried_again_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tries: list[int] = []
    waits: list[float] = []

    def save(run: Any, round: int, **states: Any) -> None:
        tries.append(round)
        if len(tries) <= failures:
            raise StorageError("it is full")

    monkeypatch.setattr(keeper.ray, "get", lambda value: value)
    monkeypatch.setattr(keeper.time, "sleep", waits.append)
    monkeypatch.setattr(keeper.checkpoint, "save", save)
    vector = Packed(np.zeros(2, np.float32), "float32")
    master = {"vector": vector, "strategy": {}, "end": {}, "inner": None}
    cut = {"round": 7, "replicas": {}, "master": [master], "model": {"model": {}}}
    told: list[int] = []
    ends = pytest.raises(StorageError, match="it is full") if failures == 9 else nullcontext()
    run = open_folder(tmp_path)
    with ends, keeper.Keeper(run, {}, 2, let_go=told.append, say=print) as made:
        made.keep(cut)
    assert told == [7]
    assert tries == [7] * min(1 + failures, 4)
    assert waits == list(keeper.LAST_S[: len(tries) - 1])


@pytest.mark.parametrize("master_is_lost", [False, True])
def test_a_checkpoint_is_written_without_a_replica_whose_state_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master_is_lost: bool
) -> None:
    saved: list[dict[str, Any]] = []
    said: list[str] = []

    def get(value: Any) -> Any:
        if value == "lost":
            raise ObjectLostError("00" * 28, None, "")
        return value

    monkeypatch.setattr(keeper.ray, "get", get)
    monkeypatch.setattr(keeper.checkpoint, "save", lambda run, round, **kept: saved.append(kept))
    vector = Packed(np.zeros(2, np.float32), "float32")
    master = {"vector": vector, "strategy": {}, "end": {}, "inner": None}
    cut = {
        "round": 7,
        "replicas": {0: "lost", 1: "state", 2: None},
        "master": "lost" if master_is_lost else [master],
        "model": {"model": {}},
    }
    run = open_folder(tmp_path)
    with keeper.Keeper(run, {}, 2, let_go=lambda round: None, say=said.append) as made:
        made.keep(cut)
    assert [kept["replicas"] for kept in saved] == ([] if master_is_lost else [{1: "state"}])
    assert [line.split(" was lost")[0] for line in said] == (
        [] if master_is_lost else ["the state of replica 0"]
    )
