"""A checkpoint is old or new, whole or refused, and a run goes on from it to the bit."""

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parle_ray.errors import InputError, StorageError
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import Folder, open_folder
from parle_ray.strategies import (
    SGD,
    DiLoCo,
    ElasticSGD,
    EntropySGD,
    LocalSGD,
    Parle,
    Rotation,
    Strategy,
    StreamingDiLoCo,
    TailAveraging,
)
from parle_ray.task import Task
from tests.cluster import task as small
from tests.cuts import Crew
from tests.problems import task

STRATEGIES = [
    Parle(sync_every=3),
    Parle(sync_every=3, reference="mean_z"),
    EntropySGD(sync_every=3, noise=1e-3),
    ElasticSGD(),
    ElasticSGD(sync_every=3, moving_rate=0.3),
    LocalSGD(sync_every=3),
    DiLoCo(sync_every=3),
    SGD(sync_every=2),
    TailAveraging(sync_every=2),
    Rotation(sync_every=2),
    StreamingDiLoCo(sync_every=2, fragments=3),
]


def save(run: Folder, crew: Crew, **changes: Any) -> str:
    arguments: dict[str, Any] = crew.cut() | {"round": crew.master.round, "spec": {}} | changes
    checkpoint.save(run, arguments.pop("round"), **arguments)
    return checkpoint.names(run)[-1]


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return open_folder(tmp_path, "run")


def drawing_from_everywhere() -> Task:
    """Shuffling, dropout, batch-norm, a schedule, and a loss that draws from each generator."""
    arguments = small.arguments()
    plain = arguments["loss_fn"]

    def loss_fn(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, labels = batch
        x = x + 0.1 * torch.randn(x.shape) + 0.1 * torch.from_numpy(np.random.normal(size=x.shape))
        return random.gauss(1.0, 0.1) * plain(module, (x.float(), labels))

    arguments |= {"loss_fn": loss_fn}
    return Task(strategy=Parle(), num_replicas=2, **arguments)


@pytest.mark.parametrize(
    ("strategy", "compression"),
    [*((strategy, "none") for strategy in STRATEGIES), (STRATEGIES[0], "int8"), (SGD(), "int4")],
    ids=str,
)
def test_a_run_goes_on_to_the_bits_of_an_uninterrupted_one(
    run: Folder, strategy: Strategy, compression: str
) -> None:
    run.make()
    changes = {"strategy": strategy, "compression": compression}
    fitted = Task(**{**vars(drawing_from_everywhere()), **changes}).fitted_to(8)
    through, stopped = Crew(fitted), Crew(fitted)
    through.play(4)
    stopped.play(2)
    cut = checkpoint.load(run, save(run, stopped))
    again = Crew(fitted, cut.resume)
    assert again.master.round == cut.round == 2
    again.play(2)
    assert torch.equal(again.bits(), through.bits())


class Dead(BaseException):
    """The process was killed: nothing that it had still to do is done."""


class Disk:
    """Counts what is done to the disk; at the k-th it fails, or the process dies, or the power.

    Args:
        at: k, from 1.
        how: `"fails"` as a full disk, `"dies"`, or `"power"`, which takes with it the content of
            all files that were not synced. A file that is being written is left half there.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path, at: int, how: str) -> None:
        self._root, self._at, self._how = root, at, how
        self.count, self._dead = 0, False
        self._synced: set[int] = set()
        for owner, name in ((os, "mkdir"), (os, "rename"), (checkpoint, "save_file")):
            patch.setattr(owner, name, self._fragile(getattr(owner, name)))
        patch.setattr(checkpoint, "save_torch_file", self._fragile(checkpoint.save_torch_file))
        patch.setattr(Path, "write_text", self._fragile(Path.write_text))
        patch.setattr(os, "fsync", self._fragile(self._sync))
        patch.setattr(shutil, "rmtree", self._unless_dead(shutil.rmtree))

    def settle(self) -> None:
        """All that is there now was synced."""
        self._synced = {f.stat().st_ino for f in self._root.rglob("*")}

    def _sync(self, handle: int) -> None:
        self._synced.add(os.fstat(handle).st_ino)

    def _unless_dead(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **options: Any) -> Any:
            if self._dead:
                raise Dead
            return effect(*args, **options)

        return do

    def _fragile(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count != self._at:
                return effect(*args, **options)
            for file in [a for a in args if isinstance(a, Path) and a.parent.is_dir()][-1:]:
                if effect.__name__ not in ("rename", "mkdir"):
                    effect(*args, **options)
                    os.truncate(file, file.stat().st_size // 2)
            if self._how == "fails":
                raise OSError(errno.ENOSPC, "No space left on device")
            self._dead = True
            for file in self._root.rglob("*") if self._how == "power" else ():
                if file.is_file() and file.stat().st_ino not in self._synced:
                    os.truncate(file, 0)
            raise Dead

        return self._unless_dead(do)


@pytest.mark.parametrize("again", [False, True], ids=["a new round", "a round written before"])
@pytest.mark.parametrize("how", ["fails", "dies", "power"])
def test_whatever_goes_wrong_in_writing_leaves_the_old_checkpoint_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, again: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    crew = Crew(task(Parle(sync_every=2)).fitted_to(3))
    crew.play(1)
    old, at, seen = crew.cut(), 0, set()
    crew.play(1)
    new = crew.cut()
    while True:
        at += 1
        run = open_folder(tmp_path, f"run{at}")
        run.make()
        checkpoint.save(run, 1, spec={"which": "old"}, **old)
        if again:
            checkpoint.save(run, 2, spec={"which": "given up"}, **new)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, Path(run.path), at, how)
            disk._synced |= {f.stat().st_ino for f in Path(run.path).rglob("*")}
            try:
                checkpoint.save(run, 2, spec={"which": "new"}, **new)
            except (Dead, StorageError):
                pass
            else:
                break
        names = checkpoint.names(run)
        assert names[0] == "checkpoint_000001"
        for name in names:
            cut = checkpoint.load(run, name)
            expected = old if name == names[0] else new
            assert np.array_equal(
                cut.resume.master["vector"].array, expected["master"]["vector"].array
            )
        seen.add(cut.spec["which"])
        if how == "fails":
            assert not list(Path(run.path).glob(".*"))
        run.sweep(checkpoint.PREFIX)
        checkpoint.save(run, 2, spec={"which": "new"}, **new)
        assert checkpoint.load(run, "checkpoint_000002").spec == {"which": "new"}
    assert at > 14, "the disk was not told of what is done to it"
    assert {"old", "new"} <= seen


def test_a_full_disk_is_named(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.make()
    crew = Crew(task(Parle()).fitted_to(3))
    Disk(monkeypatch, Path(run.path), 5, "fails")
    with pytest.raises(StorageError, match=r"checkpoint_000000 cannot .*No space left on device"):
        save(run, crew)


@pytest.fixture
def saved(run: Folder) -> tuple[Folder, Path]:
    run.make()
    return run, Path(run.path) / save(run, Crew(task(Parle()).fitted_to(3)))


def test_every_flipped_bit_and_every_truncation_is_noticed(saved: tuple[Folder, Path]) -> None:
    run, folder = saved
    rng = random.Random(0)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for _ in range(20):
            at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
            file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(InputError, match=f"checkpoint {folder}"):
                checkpoint.load(run, folder.name)
            file.write_bytes(whole[:at])
            with pytest.raises(InputError, match=f"checkpoint {folder}"):
                checkpoint.load(run, folder.name)
        file.unlink()
        with pytest.raises(InputError, match=file.name):
            checkpoint.load(run, folder.name)
        file.write_bytes(whole)
    assert checkpoint.load(run, folder.name).round == 0


def test_another_format_is_said(saved: tuple[Folder, Path]) -> None:
    run, folder = saved
    (folder / "manifest.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(InputError, match="format 1, this version reads 2"):
        checkpoint.load(run, folder.name)


def test_a_state_that_json_cannot_hold_is_named(run: Folder) -> None:
    run.make()
    crew = Crew(task(Parle()).fitted_to(3))
    states = crew.cut()
    states["replicas"][1]["stream"]["batches"] = {"position": {3, 4}}
    with pytest.raises(StorageError, match="replica-1/stream/batches/position is a set"):
        checkpoint.save(run, 0, spec={}, **states)
    assert checkpoint.names(run) == []
