"""Checkpoints: a consistent cut of a run in storage, in safetensors and JSON, with checksums.

    checkpoint_000040/
        model.safetensors        the master as a plain state_dict, batch-norm re-estimated
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from parle_ray.cluster.states import Resume
from parle_ray.cluster.wire import unpack_tree
from parle_ray.errors import InputError, StorageError
from parle_ray.runs.skeleton import put_arrays, take_arrays
from parle_ray.runs.storage import VOUCHER, Folder

FORMAT = 2
PREFIX = "checkpoint_"


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
            save_torch_file(unpack_tree(model), draft / "model.safetensors")
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
            return _load(here, f"checkpoint {run}/{name}")
    except OSError as error:
        raise StorageError(f"checkpoint {run}/{name} cannot be fetched: {error}") from error


def names(run: Folder) -> list[str]:
    """The checkpoints of a run, the newest last."""
    return sorted(name for name in run.kept() if re.fullmatch(PREFIX + r"\d{6,}", name))


def round_of(name: str) -> int:
    """The number of rounds that were closed when a checkpoint was made."""
    return int(name.removeprefix(PREFIX))


def _load(folder: Path, label: str) -> Cut:
    try:
        manifest = json.loads((folder / VOUCHER).read_text())
        if manifest["format"] != FORMAT:
            raise InputError(f"{label}: format {manifest['format']}, this version reads {FORMAT}")
        files = manifest["files"]
        if manifest.pop("sha256") != _seal(manifest):
            raise InputError(f"{label}: {VOUCHER} is damaged (its SHA-256 differs)")
        for name, digest in files.items():
            if Path(name).name != name or _sha256(folder / name) != digest:
                raise InputError(f"{label}: {name} is damaged (its SHA-256 differs)")
        states = {}
        for name, skeleton in manifest["states"].items():
            if f"{name}.safetensors" not in files:
                raise InputError(f"{label}: {name}.safetensors is not among its files")
            states[name] = put_arrays(skeleton, load_file(folder / f"{name}.safetensors"))
        replicas = {
            int(name.removeprefix("replica-")): state
            for name, state in states.items()
            if name.startswith("replica-")
        }
        round = int(manifest["round"])
        return Cut(
            round=round,
            resume=Resume(round=round, master=states["master"], replicas=replicas),
            model={key: (dtype, list(shape)) for key, (dtype, shape) in manifest["model"].items()},
            spec=dict(manifest["spec"]),
        )
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError),
        *(SafetensorError, RecursionError),
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{label}: cannot be read ({type(error).__name__}: {error})") from error


def _seal(manifest: Any) -> str:
    """The SHA-256 of what a manifest says; JSON gives back the very text that it was read from."""
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
