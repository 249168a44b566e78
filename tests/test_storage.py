"""Runs are kept alike on a disk, on any pyarrow filesystem and on S3."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem

from parle_ray.errors import InputError
from parle_ray.runs import reports
from parle_ray.runs.reports import Reports
from parle_ray.runs.run_folder import RunFolder
from parle_ray.runs.storage import VOUCHER, Folder, LocalFolder, RemoteFolder, open_folder

KINDS = ("local", "subtree", "s3")


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A new run folder on each kind of storage."""
    if request.param == "local":
        folder = open_folder(tmp_path, "run")
    elif request.param == "subtree":
        folder = open_folder("", "run", SubTreeFileSystem(str(tmp_path), LocalFileSystem()))
    else:
        query = request.getfixturevalue("bucket")
        folder = open_folder(
            f"s3://key:secret@{tmp_path.name.replace('_', '-')}/runs?{query}", "run"
        )
    folder.make()
    return folder


def keep(run: Folder, name: str, content: str) -> None:
    with run.keep(name) as draft:
        (draft / VOUCHER).write_text(content)
        (draft / "vector").write_text(content)


def test_what_is_written_is_read(run: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        run.read("config.yaml")
    for content in (b"first", b"second, longer"):
        run.write("config.yaml", content)
        assert run.read("config.yaml") == content
    run.remove("config.yaml")
    run.remove("config.yaml")
    with pytest.raises(FileNotFoundError):
        run.read("config.yaml")
    assert run.name == "run"


def test_folders_are_kept_replaced_fetched_and_removed(run: Folder) -> None:
    keep(run, "checkpoint_2", "two")
    keep(run, "checkpoint_1", "one")
    keep(run, "checkpoint_2", "two again")
    assert run.kept() == ["checkpoint_1", "checkpoint_2"]
    with run.fetch("checkpoint_2") as here:
        assert {f.name: f.read_text() for f in here.iterdir()} == {
            VOUCHER: "two again",
            "vector": "two again",
        }
    run.remove("checkpoint_1")
    assert run.kept() == ["checkpoint_2"]


def test_a_folder_that_fails_on_its_way_leaves_the_old_one_or_none(run: Folder) -> None:
    keep(run, "checkpoint_1", "one")
    for name in ("checkpoint_1", "checkpoint_2"):
        with pytest.raises(TypeError):
            keep(run, name, 3)  # type: ignore[arg-type]
    assert run.kept() == ["checkpoint_1"]
    with run.fetch("checkpoint_1") as here:
        assert (here / VOUCHER).read_text() == "one"


def test_the_file_that_vouches_is_uploaded_last_and_removed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RemoteFolder(SubTreeFileSystem(str(tmp_path), LocalFileSystem()), "run")
    keep(run, "checkpoint_1", "one")
    copy, left = RemoteFolder._copy, [1]

    def copy_some(self: RemoteFolder, file: Path, path: str) -> None:
        if not left:
            raise OSError("the line is dead")
        left.pop()
        copy(self, file, path)

    monkeypatch.setattr(RemoteFolder, "_copy", copy_some)
    for name in ("checkpoint_1", "checkpoint_2"):
        left[:] = [1]
        with pytest.raises(OSError, match="line is dead"):
            keep(run, name, "half")
        assert (tmp_path / "run" / name / "vector").read_text() == "half"
    assert run.kept() == []
    (tmp_path / "run" / "notes").mkdir()
    run.sweep("checkpoint_")
    assert [f.name for f in (tmp_path / "run").iterdir()] == ["notes"]


def test_reports_are_there_after_each_round_or_at_the_next_flush(run: Folder) -> None:
    now = [0.0]
    told = Reports(run, print, clock=lambda: now[0])
    told.keep_until(0)
    with told:
        for round in range(1, 5):
            told.append({"round": round})
        assert len(reports.read(run)) == (4 if isinstance(run, LocalFolder) else 0)
        told.flush()
        assert reports.read(run) == told.all
        now[0] += reports.REWRITE_S
        told.append({"round": 5})
        assert len(reports.read(run)) == 5
        told.append({"round": 6})
    assert len(reports.read(run)) == 6
    again = Reports(run, print)
    again.keep_until(3)
    assert reports.read(run) == [{"round": 1}, {"round": 2}, {"round": 3}]


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / reports.NAME).write_text('{"round": 1}\n{"rou')
    assert reports.read(open_folder(tmp_path)) == [{"round": 1}]


@pytest.mark.parametrize("uri", ["nowhere://bucket/runs", "s3://bucket/runs?colour=red"])
def test_a_uri_that_pyarrow_does_not_know_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"storage_path: .* give a folder, a URI"):
        open_folder(uri)


def test_a_local_folder_is_local_however_it_is_named(tmp_path: Path) -> None:
    assert isinstance(FileSystem.from_uri(tmp_path.as_uri())[0], LocalFileSystem)
    for path, filesystem in (
        (tmp_path.as_uri(), None),
        (tmp_path, LocalFileSystem()),
        (str(tmp_path), None),
    ):
        folder = open_folder(path, "run", filesystem)
        assert isinstance(folder, LocalFolder)
        assert folder.path == str(tmp_path / "run")


def test_many_may_open_one_run_at_the_same_time(tmp_path: Path) -> None:
    """As a reader does while a resubmitted job starts."""
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: RunFolder(tmp_path, "run").path, range(100)))
    assert set(opened) == {str(tmp_path / "run")}
    assert not list((tmp_path / "run").iterdir())
