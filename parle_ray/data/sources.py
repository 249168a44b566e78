"""Where a set's files come from: the data root, a Debian package, torchvision's download."""

import http.client
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from parle_ray.data.catalogue import FACTS, Layout

_DOWNLOAD_S = 3600.0  # the longest that one process waits for another's download
_SILENCE_S = 30.0  # of a server, after which a download has failed


@dataclass(frozen=True, kw_only=True)
class Found:
    """A set's files: for each part of a half the paths that `layout.read` takes."""

    layout: Layout
    train: list[list[Path]]
    test: list[list[Path]]


def data_root(root: str | Path | None = None) -> Path:
    """The folder of image sets: the argument, else PARLE_DATA, else ~/.cache/parle_ray."""
    chosen = root or os.environ.get("PARLE_DATA") or "~/.cache/parle_ray"
    return Path(chosen).expanduser().absolute()


def find(name: str, root: Path) -> Found | None:
    """The first folder that holds all files of set `name`, or None. The data root comes first."""
    for layout in FACTS[name].layouts:
        for folder in layout.folders:
            train = _paths(root / folder, layout, layout.train)
            test = _paths(root / folder, layout, layout.test)
            if train is not None and test is not None:
                return Found(layout=layout, train=train, test=test)
    return None


def incomplete(name: str, root: Path) -> list[str]:
    """Files missing from folders that hold some but not all of set `name`: a broken download."""
    missing: dict[str, None] = {}
    for layout in FACTS[name].layouts:
        names = [file for part in (*layout.train, *layout.test) for file in part]
        for folder in layout.folders:
            absent = [f for f in names if _path(root / folder, layout, f) is None]
            if len(absent) < len(names):
                missing.update((str(root / folder / file), None) for file in absent)
    return list(missing)


def fetch(name: str, root: Path) -> str | None:
    """Downloads set `name` into the root, once a node; None when done, else why it failed.

    Processes that ask at the same time wait for the first one's files.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock", timeout=_DOWNLOAD_S):
            if find(name, root) is None:
                _download_whole(name, root)
    # RuntimeError: torchvision's MNIST family and checksums; OSError: URLError, time-outs, disk.
    except (RuntimeError, OSError, EOFError, ImportError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _download_whole(name: str, root: Path) -> None:
    """Downloads beside and renames: who looks meanwhile, without the lock, sees no half file."""
    fresh = root / f".{name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        download(name, fresh)
        for path in sorted(fresh.rglob("*")):
            if path.is_file() and not path.name.endswith(".tar.gz"):
                target = root / path.relative_to(fresh)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def download(name: str, root: Path) -> None:
    """Fetches the files by torchvision, in torchvision's layout (SVHN: into root/svhn).

    Raises:
        RuntimeError, OSError: no network, or the files are not what was promised.
    """
    from torchvision import datasets

    silence = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)  # torchvision sets none: a dead server would hang a run
    try:
        if name == "svhn":  # its class needs SciPy to read what it fetched; we do not
            for half in ("train", "test"):
                url, file, md5 = datasets.SVHN.split_list[half]
                datasets.utils.download_url(url, str(root / "svhn"), file, md5)
        else:
            getattr(datasets, FACTS[name].torchvision_name)(str(root), download=True)
    finally:
        socket.setdefaulttimeout(silence)


def _path(folder: Path, layout: Layout, name: str) -> Path | None:
    choices = (folder / f"{name}{suffix}" for suffix in layout.suffixes)
    return next((path for path in choices if path.is_file()), None)


def _paths(
    folder: Path, layout: Layout, parts: tuple[tuple[str, ...], ...]
) -> list[list[Path]] | None:
    paths = [[_path(folder, layout, name) for name in part] for part in parts]
    whole = [[path for path in part if path is not None] for part in paths]
    return whole if [len(p) for p in whole] == [len(p) for p in parts] else None
