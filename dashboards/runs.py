"""Runs as tables, read from their folders alone, again and again while they grow."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pyarrow.fs import FileSelector, FileType

from parle_ray.runs import reports
from parle_ray.runs.storage import Folder, LocalFolder, open_folder

PATIENCE_S = 60.0
"""A run that has reported nothing for so long, and for ten of its rounds, is not running."""


class Tail:
    """The reports of one run; of a file that has grown only the new lines are read.

    Args:
        folder: of the run.

    Attributes:
        table: one row a round, as far as the run is; empty before its first.
    """

    def __init__(self, folder: Folder) -> None:
        self.table = pd.DataFrame()
        self._folder = folder
        self._read: list[reports.Report] = []
        self._stamp: tuple[int, int] | None = None  # modification time and size
        self._file, self._offset = 0, 0

    def look(self) -> bool:
        """Read what is new; whether anything is."""
        stamp, file = self._now()
        if stamp is None or stamp == self._stamp:
            return False
        if file is not None and file == self._file and stamp[1] >= self._offset:
            self._read += self._rest()
        else:  # another file: the run went on from a checkpoint, or the storage cannot append
            self._file, self._offset = file or 0, 0
            self._read = self._rest() if file is not None else reports.read(self._folder)
        self._stamp = stamp
        self.table = pd.DataFrame(self._read)
        return True

    @property
    def state(self) -> str:
        """`finished`, `running`, or `stopped` where nothing has come for too long."""
        if self.table.empty or self._stamp is None:
            return "no round yet"
        last = self.table.iloc[-1]
        if last["round"] >= last.get("num_rounds", float("inf")):
            return "finished"
        slowest = self.table["round_s"].tail(20).max() if "round_s" in self.table else 0.0
        since = time.time() - self._stamp[0] / 1e9
        return "running" if since < max(PATIENCE_S, 10 * slowest) else "stopped"

    def _now(self) -> tuple[tuple[int, int] | None, int | None]:
        """Modification time (ns) and size of the file; on a disk, its number too."""
        if isinstance(self._folder, LocalFolder):
            try:
                told = os.stat(Path(self._folder.path, reports.NAME))
            except FileNotFoundError:
                return None, None
            return (told.st_mtime_ns, told.st_size), told.st_ino
        info = self._folder.filesystem.get_file_info(f"{self._folder.path}/{reports.NAME}")
        if info.type != FileType.File:
            return None, None
        return (info.mtime_ns or 0, info.size), None

    def _rest(self) -> list[reports.Report]:
        """The whole lines behind those that have been read."""
        with open(Path(self._folder.path, reports.NAME), "rb") as file:
            file.seek(self._offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(end)
        return reports.parse(whole)


class Shelf:
    """The runs in a folder; itself, if it is one.

    Args:
        path: the folder, or its URI.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = open_folder(path)
        self._tails: dict[str, Tail] = {}

    def names(self) -> list[str]:
        """Of the runs, the one that reported last first."""
        files, path = self.folder.filesystem, self.folder.path
        inside = files.get_file_info(FileSelector(path, allow_not_found=True))
        paths = [path, *(i.path for i in inside if i.type == FileType.Directory)]
        told = files.get_file_info([f"{one}/{reports.NAME}" for one in paths])
        found = [
            (info.mtime_ns or 0, one.rpartition("/")[2])
            for one, info in zip(paths, told, strict=True)
            if info.type == FileType.File
        ]
        return [name for _, name in sorted(found, reverse=True)]

    def tail(self, name: str) -> Tail:
        """Of one of `names`."""
        if name not in self._tails:
            path = self.folder.path
            at = path if name == self.folder.name else f"{path}/{name}"
            self._tails[name] = Tail(open_folder(at, filesystem=self.folder.filesystem))
        return self._tails[name]


def read(folders: Iterable[str | Path]) -> dict[str, pd.DataFrame]:
    """The reports of run folders, by the folders' names; a running one as far as it is.

    A folder may be a URI, such as `s3://bucket/runs/mine`.
    """
    return {name: tail.table for name, tail in tails(folders).items()}


def tails(folders: Iterable[str | Path]) -> dict[str, Tail]:
    """The runs in these folders, read once, by the folders' names; two of one name by paths."""
    opened = [open_folder(folder) for folder in folders]
    names = [folder.name for folder in opened]
    found = {
        folder.name if names.count(folder.name) == 1 else folder.path: Tail(folder)
        for folder in opened
    }
    for tail in found.values():
        tail.look()
    return found
