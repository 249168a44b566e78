"""Checkpoints: a consistent cut of a run in storage, in safetensors and JSON, with checksums.

    checkpoint_000040/
        model.safetensors        the master, or the strategy's model, as a plain state_dict,
                                 batch-norm re-estimated
        master.safetensors       the coordinator's vectors
        replica-0.safetensors    a replica's vectors, optimiser, generators; one file each
        manifest.json            the rest of the states, what the run was made with, and the
                                 SHA-256 of every file and of itself

It is there whole or not at all (`parle_ray.runs.storage`). Nothing is pickled, so a checkpoint from
a stranger cannot run code.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file
from safetensors.torch import save_file as save_torch_file
from torch import Tensor

from parle_ray.cluster.states import Resume
from parle_ray.cluster.wire import unpack_tree
from parle_ray.errors import InputError, StorageError, nearest, printable
from parle_ray.runs.skeleton import put_arrays, take_arrays
from parle_ray.runs.storage import VOUCHER, Folder

FORMAT = 2
PREFIX = "checkpoint_"
MODEL = "model.safetensors"
LARGEST_MANIFEST = 2**28
"""Bytes that are read of one: a hundred for each tensor of each replica is the rule."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a checkpoint holds.

    Attributes:
        round: rounds closed.
        resume: the states to go on from.
        model: name -> dtype and shape of every tensor of the `state_dict`.
        spec: what the run was made with (see `parle_ray.runs.spec`).
    """

    round: int
    resume: Resume
    model: dict[str, tuple[str, list[int]]]
    spec: dict[str, Any]


def save(
    run: Folder, round: int, *, master: Any, replicas: Mapping[int, Any], model: Any, spec: Any
) -> None:
    """Write a cut.

    Args:
        run: the run folder.
        round: rounds closed.
        master, replicas, model: packed states (see `parle_ray.cluster.wire.pack_tree`).
        spec: what the run was made with.

    Raises:
        StorageError: names what could not be written.
    """
    name = f"{PREFIX}{round:06d}"
    try:
        with run.keep(name) as draft:
            save_torch_file(unpack_tree(model), draft / MODEL)
            parts = {"master": master} | {f"replica-{rank}": replicas[rank] for rank in replicas}
            skeletons = {}
            for part, tree in parts.items():
                arrays: dict[str, np.ndarray] = {}
                skeletons[part] = take_arrays(tree, part, arrays)
                save_file(arrays, draft / f"{part}.safetensors")
            manifest = {
                "format": FORMAT,
                "round": round,
                "files": {f.name: _sha256(f) for f in sorted(draft.iterdir())},
                "model": {key: (t.dtype, list(t.array.shape)) for key, t in model.items()},
                "spec": spec,
                "states": skeletons,
            }
            sealed = {"sha256": _seal(manifest)} | manifest
            (draft / VOUCHER).write_text(json.dumps(sealed))
    except (OSError, SafetensorError) as error:  # safetensors wraps those of its own writing
        raise StorageError(f"checkpoint {run}/{name} cannot be written: {error}") from error


def load(run: Folder, name: str) -> Cut:
    """What the checkpoint `name` of a run holds.

    Raises:
        InputError: names the file that is damaged, missing or of another format.
        StorageError: the storage cannot be reached.
    """
    try:
        with run.fetch(name) as here:
            return _load(here, f"checkpoint {run}/{name}", round_of(name))
    except OSError as error:
        raise StorageError(f"checkpoint {run}/{name} cannot be fetched: {error}") from error


def load_model(run: Folder, name: str) -> dict[str, Tensor]:
    """The `state_dict` of the master in the checkpoint `name` of a run.

    Raises:
        InputError: its file is damaged, missing or of another format.
        StorageError: the storage cannot be reached.
    """
    label = f"checkpoint {run}/{name}"
    try:
        with run.fetch(name) as here, _labelled(label):
            _check(here, MODEL, _manifest(here)["files"][MODEL])
            return load_torch_file(here / MODEL)
    except OSError as error:
        raise StorageError(f"{label} cannot be fetched: {error}") from error


def names(run: Folder) -> list[str]:
    """The checkpoints of a run, the newest last."""
    return sorted(name for name in run.kept() if re.fullmatch(PREFIX + r"[0-9]{6,8}", name))


def choose(run: Folder, asked: str | None) -> str:
    """The name of the checkpoint that is asked for, or of the newest.

    Raises:
        InputError: it is not there.
    """
    there = names(run)
    if not there:
        raise InputError(
            f"{run} has no checkpoint; name the folder of a run, such as ~/parle_results/NAME"
        )
    if asked is not None and asked not in there:
        hint = nearest(asked, there)
        raise InputError(f"checkpoint: {run} has {', '.join(there)}, not {asked!r}.{hint}")
    return asked or there[-1]


def round_of(name: str) -> int:
    """The number of rounds that were closed when a checkpoint was made."""
    return int(name.removeprefix(PREFIX))


def _load(folder: Path, label: str, round: int) -> Cut:
    with _labelled(label):
        manifest = _manifest(folder)
        for name, digest in manifest["files"].items():
            _check(folder, name, digest)
        states = _states(folder, manifest)
        if manifest["round"] != round or type(manifest["round"]) is not int:
            raise InputError(f"it says that it is of round {printable(manifest['round'])}")
        return Cut(
            round=round,
            resume=Resume(
                round=round,
                master=states.pop("master"),
                replicas={int(name.removeprefix("replica-")): states[name] for name in states},
            ),
            model={key: (dtype, list(shape)) for key, (dtype, shape) in manifest["model"].items()},
            spec=_plain(manifest["spec"]),
        )


@contextmanager
def _labelled(label: str) -> Iterator[None]:
    """Whatever is wrong with a checkpoint is the user's to see to, and says which one it is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{label}: {error}") from error
    # A broken file can raise nearly anything: lookups, conversions, recursion, memory.
    except Exception as error:
        what = printable(f"{type(error).__name__}: {error}")
        raise InputError(f"{label}: cannot be read ({what})") from error


def _manifest(folder: Path) -> dict[str, Any]:
    """What the manifest says, which its own SHA-256 vouches for."""
    file = _regular(folder / VOUCHER)
    if file.stat().st_size > LARGEST_MANIFEST:
        raise InputError(f"{VOUCHER} has {file.stat().st_size:,} bytes, it is none of ours")
    manifest: dict[str, Any] = json.loads(file.read_text())
    if manifest["format"] != FORMAT:
        said = printable(manifest["format"])
        raise InputError(f"format {said}, this version reads {FORMAT}")
    if manifest.pop("sha256") != _seal(manifest):
        raise InputError(f"{VOUCHER} is damaged (its SHA-256 differs)")
    return manifest


def _check(folder: Path, name: str, digest: str) -> None:
    if Path(name).name != name or _sha256(folder / name) != digest:
        raise InputError(f"{printable(name)} is damaged (its SHA-256 differs)")


def _states(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The states by the names of their files, the master's and each replica's."""
    states = {}
    for name, skeleton in manifest["states"].items():
        if not re.fullmatch(r"master|replica-(0|[1-9][0-9]{0,8})", name):
            raise InputError(f"{printable(name)} is no state of a run")
        if f"{name}.safetensors" not in manifest["files"]:
            raise InputError(f"{name}.safetensors is not among its files")
        states[name] = put_arrays(skeleton, load_file(folder / f"{name}.safetensors"))
    return states


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    """What a run was made with, as `parle_ray.runs.spec` writes it: names and plain values."""
    for name, value in spec.items():
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise InputError(f"{printable(name)} of its spec is no plain value")
    return spec


def _regular(file: Path) -> Path:
    """The same; a pipe would be waited for, and a device read for ever."""
    if not file.is_file():
        raise InputError(f"{printable(file.name)} is missing, or no file")
    return file


def _seal(manifest: Any) -> str:
    """The SHA-256 of what a manifest says; JSON gives back the very text that it was read from."""
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with _regular(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
