"""Where runs lie: a folder of this machine, or one on any filesystem that `pyarrow.fs` knows.

Both have the same verbs and keep the same promise: what is there under its name is there whole.
On a disk it is written under another name, synced and renamed. An object store cannot rename:
there the file that vouches for a folder is uploaded after all the others.
"""

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pyarrow import ArrowInvalid
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from parle_ray.errors import InputError

VOUCHER = "manifest.json"
"""The file by which a kept folder is known to be whole."""
PART = ".part"
"""At the end of a hidden name: something that is being written."""
GONE = ".gone"
"""Or removed."""
CHUNK_BYTES = 64 * 2**20
"""Of an upload."""


class Folder(ABC):
    """A folder and what may be done in it; all verbs raise OSError if the storage fails.

    Attributes:
        filesystem: of pyarrow.
        path: on it, absolute and without a scheme.
    """

    def __init__(self, filesystem: FileSystem, path: str) -> None:
        self.filesystem, self.path = filesystem, path.rstrip("/")

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @abstractmethod
    def make(self) -> None:
        """Make the folder and those above it, unless they are there."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError if it is not there."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Replace a file, which has the old content or the new at any moment."""

    @abstractmethod
    def kept(self) -> list[str]:
        """The names of the folders that `keep` has finished."""

    @abstractmethod
    def keep(self, name: str) -> AbstractContextManager[Path]:
        """A local folder to be filled with files; afterwards it is here under `name`."""

    @abstractmethod
    def fetch(self, name: str) -> AbstractContextManager[Path]:
        """A local folder with the files of the folder `name`, to be read only."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file or a folder; one that is not there is none of our business."""

    @abstractmethod
    def sweep(self, prefix: str) -> None:
        """Remove folders that were being written, or removed, when that was cut short."""


class LocalFolder(Folder):
    """On a disk, or a network file system that is mounted."""

    def make(self) -> None:
        os.makedirs(self.path, exist_ok=True)

    def read(self, name: str) -> bytes:
        file = self._at(name)
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise OSError(f"{file} is no file")
        return file.read_bytes()

    def append(self, name: str, content: bytes) -> None:
        """Put `content` at the end of a file."""
        with self._at(name).open("ab") as file:
            file.write(content)

    def write(self, name: str, content: bytes) -> None:
        draft = self._at(f".{name}{PART}")
        try:
            draft.write_bytes(content)
            _sync(draft)
            os.rename(draft, self._at(name))
            _sync(self._at())
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def kept(self) -> list[str]:
        entries = self._at().iterdir() if self._at().is_dir() else []
        return sorted(f.name for f in entries if f.is_dir() and f.name[0] != ".")

    @contextmanager
    def keep(self, name: str) -> Iterator[Path]:
        draft = self._at(f".{name}{PART}")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            os.mkdir(draft)
            yield draft
            for file in draft.iterdir():
                _sync(file)
            _sync(draft)
            self.remove(name)
            os.rename(draft, self._at(name))
            _sync(self._at())
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        yield self._at(name)

    def remove(self, name: str) -> None:
        path, doomed = self._at(name), self._at(f".{name}{GONE}")
        if path.is_dir():
            shutil.rmtree(doomed, ignore_errors=True)
            os.rename(path, doomed)  # at once gone, though its files go one by one
            shutil.rmtree(doomed, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def sweep(self, prefix: str) -> None:
        for end in (PART, GONE):
            for left in self._at().glob(f".{prefix}*{end}"):
                shutil.rmtree(left, ignore_errors=True)

    def _at(self, name: str = "") -> Path:
        return Path(self.path, name)


class RemoteFolder(Folder):
    """In an object store, or whatever else pyarrow reaches."""

    def make(self) -> None:
        self.filesystem.create_dir(self.path, recursive=True)

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_file(self._at(name)) as file:
            return bytes(file.readall())

    def write(self, name: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(self._at(name)) as file:
            file.write(content)

    def kept(self) -> list[str]:
        return [name for name in self._folders() if self._has(f"{name}/{VOUCHER}")]

    @contextmanager
    def keep(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="parle-") as draft:
            yield Path(draft)
            self.remove(name)
            self.filesystem.create_dir(self._at(name), recursive=True)
            for file in sorted(Path(draft).iterdir(), key=lambda file: file.name == VOUCHER):
                self._copy(file, self._at(f"{name}/{file.name}"))

    @contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="parle-") as here:
            for info in self._list(name):
                if info.type == FileType.File:
                    copy_files(
                        info.path,
                        str(Path(here, info.base_name)),
                        source_filesystem=self.filesystem,
                        destination_filesystem=LocalFileSystem(),
                    )
            yield Path(here)

    def remove(self, name: str) -> None:
        if self._has(f"{name}/{VOUCHER}"):  # first, so that the rest is no checkpoint any more
            self.filesystem.delete_file(self._at(f"{name}/{VOUCHER}"))
        info = self.filesystem.get_file_info(self._at(name))
        if info.type == FileType.Directory:
            self.filesystem.delete_dir(self._at(name))
        elif info.type == FileType.File:
            self.filesystem.delete_file(self._at(name))

    def sweep(self, prefix: str) -> None:
        for name in set(self._folders()) - set(self.kept()):
            if name.startswith(prefix):
                self.remove(name)

    def _folders(self) -> list[str]:
        return sorted(i.base_name for i in self._list() if i.type == FileType.Directory)

    def _list(self, name: str = "") -> list[FileInfo]:
        return list(
            self.filesystem.get_file_info(FileSelector(self._at(name), allow_not_found=True))
        )

    def _has(self, name: str) -> bool:
        return bool(self.filesystem.get_file_info(self._at(name)).type == FileType.File)

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}".rstrip("/")

    def _copy(self, file: Path, path: str) -> None:
        copy_files(
            str(file),
            path,
            source_filesystem=LocalFileSystem(),
            destination_filesystem=self.filesystem,
            chunk_size=CHUNK_BYTES,
            use_threads=False,  # uploads to S3 by several threads may hang: apache/arrow#32372
        )


def open_folder(path: str | Path, name: str = "", filesystem: FileSystem | None = None) -> Folder:
    """The folder `path/name`, which need not be there.

    Args:
        path: of this machine, or a URI such as `s3://bucket/runs`; on `filesystem` if that is
            given.

    Raises:
        InputError: the URI is of no filesystem that pyarrow knows.
    """
    at = str(path)
    if filesystem is None and "://" in at:
        try:
            filesystem, at = FileSystem.from_uri(at)
        except (ArrowInvalid, OSError) as error:
            raise InputError(
                f"storage_path: {at!r} cannot be used: {error}; give a folder, a URI that "
                "pyarrow.fs knows (s3://, gs://, abfs://, hdfs://), or storage_filesystem"
            ) from error
    if filesystem is None or isinstance(filesystem, LocalFileSystem):
        return LocalFolder(LocalFileSystem(), str(Path(at).expanduser().absolute() / name))
    return RemoteFolder(filesystem, f"{at.rstrip('/')}/{name}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
