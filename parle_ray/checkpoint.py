"""Checkpoints: a consistent cut of a run on disk, in safetensors and JSON, with checksums.

    checkpoint_000040/
        model.safetensors        the master as a plain state_dict, batch-norm re-estimated
        master.safetensors       the coordinator's vectors
        replica-0.safetensors    a replica's vectors, optimiser, generators; one file each
        manifest.json            the rest of the states, and the SHA-256 of every file

A folder is written under another name, every file synced, and then renamed: it is there whole or
not at all. Nothing is pickled, so a checkpoint from a stranger cannot run code.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from parle_ray.cluster.supervisor import Resume
from parle_ray.cluster.wire import Packed, unpack_tree
from parle_ray.errors import InputError, StorageError

FORMAT = 1
PREFIX = "checkpoint_"


def save(run: Path, round: int, *, master: Any, replicas: dict[int, Any], model: Any) -> Path:
    """Write a cut; the folder.

    Args:
        run: the run folder.
        round: rounds closed.
        master, replicas, model: packed states (see `parle_ray.cluster.wire.pack_tree`).

    Raises:
        StorageError: names what could not be written.
    """
    final = run / f"{PREFIX}{round:06d}"
    draft = run / f".{final.name}.part"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_torch_file(unpack_tree(model), draft / "model.safetensors")
        parts = {"master": master} | {f"replica-{rank}": replicas[rank] for rank in replicas}
        skeletons = {}
        for name, tree in parts.items():
            arrays: dict[str, np.ndarray] = {}
            skeletons[name] = _take_arrays(tree, name, arrays)
            save_file(arrays, draft / f"{name}.safetensors")
        manifest = {
            "format": FORMAT,
            "round": round,
            "files": {f.name: _sha256(f) for f in sorted(draft.iterdir())},
            "states": skeletons,
        }
        (draft / "manifest.json").write_text(json.dumps(manifest))
        for file in draft.iterdir():
            _sync(file)
        _sync(draft)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        _sync(run)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise StorageError(f"checkpoint {final}: cannot be written: {error}") from error
    return final


def load(folder: Path) -> tuple[int, Resume]:
    """A cut: the rounds closed, and the states to go on from.

    Raises:
        InputError: names the file that is damaged, missing or of another format.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["format"] != FORMAT:
            raise InputError(
                f"checkpoint {folder}: format {manifest['format']}, this version reads {FORMAT}"
            )
        for name, digest in manifest["files"].items():
            if Path(name).name != name or _sha256(folder / name) != digest:
                raise InputError(f"checkpoint {folder}: {name} is damaged (its SHA-256 differs)")
        states = {
            name: _put_arrays(skeleton, load_file(folder / f"{name}.safetensors"))
            for name, skeleton in manifest["states"].items()
        }
        replicas = {
            int(name.removeprefix("replica-")): state
            for name, state in states.items()
            if name.startswith("replica-")
        }
        return int(manifest["round"]), Resume(master=states["master"], replicas=replicas)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"checkpoint {folder}: cannot be read ({type(error).__name__}: {error})"
        ) from error


def folders(run: Path) -> list[Path]:
    """The checkpoints of a run, the newest last."""
    return sorted(f for f in run.glob(f"{PREFIX}[0-9]*") if (f / "manifest.json").is_file())


def round_of(folder: Path) -> int:
    """The number of rounds that were closed when a checkpoint was made."""
    return int(folder.name.removeprefix(PREFIX))


def _take_arrays(tree: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The tree as JSON, its arrays moved to `arrays` under the names of their paths."""
    if isinstance(tree, Packed):
        arrays[path] = np.array(tree.array, order="C")
        return {"$tensor": path, "dtype": tree.dtype}
    if isinstance(tree, dict):
        pairs = [[key, _take_arrays(tree[key], f"{path}/{key}", arrays)] for key in tree]
        return {"$dict": pairs}
    if isinstance(tree, list | tuple):
        items = [_take_arrays(item, f"{path}/{i}", arrays) for i, item in enumerate(tree)]
        return {"$tuple": items} if isinstance(tree, tuple) else items
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise StorageError(
        f"checkpoint: {path} is a {type(tree).__name__}, which JSON cannot hold; states may have "
        "tensors, numbers, strings, lists, tuples and dicts"
    )


def _put_arrays(skeleton: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(skeleton, list):
        return [_put_arrays(item, arrays) for item in skeleton]
    if isinstance(skeleton, dict) and "$tensor" in skeleton:
        return Packed(arrays[skeleton["$tensor"]], skeleton["dtype"])
    if isinstance(skeleton, dict) and "$dict" in skeleton:
        return {key: _put_arrays(value, arrays) for key, value in skeleton["$dict"]}
    if isinstance(skeleton, dict):
        return tuple(_put_arrays(item, arrays) for item in skeleton["$tuple"])
    return skeleton


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
