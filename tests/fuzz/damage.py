"""What is done to a checkpoint: injuries, which checksums tell, and forgeries, which none does.

Each takes a generator, the checkpoint's folder and the path of a canary, a file that only foreign
code would make.
"""

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parle_ray.runs.checkpoint import _seal, _sha256
from parle_ray.runs.storage import VOUCHER

Damage = Callable[[random.Random, Path, Path], None]

ODD: list[Any] = [
    *(None, True, "", "x", 0, -1, 1, 2, 3.5, 1e308, -0.0, float("inf"), float("nan"), 2**31, 2**63),
    *(10**30, 10**400, [], {}, [[]], {"a": 1}, [1, 2], {"": None}, "\x1b[2J\n", "x" * 5000),
    *("../x", "/etc/passwd", "os.system", "float32", "bfloat16", "int16", {"$tensor": "vector"}),
    *({"$tensor": ["x"], "dtype": "float64"}, {"$dict": [[1, 2, 3]]}, {"$dict": [[[], 1]]}),
    *({"$tuple": 3}, {"$dict": [[float("nan"), 1]]}, {"$tensor": "master/vector", "dtype": "load"}),
]


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._file}'",)


def foreign(draw: random.Random, canary: Path) -> bytes:
    """The content of a file that is something else."""
    hostile = pickle.dumps(Canary(canary), draw.randrange(pickle.HIGHEST_PROTOCOL + 1))
    return draw.choice(
        [
            *(
                hostile,
                b"PK\x03\x04" + hostile,
                b"",
                b"\0" * 8,
                b"\xff" * 64,
                b"{}",
                b"[]",
                b"null",
            ),
            *(b"[" * 100_000, b'{"a":' * 50_000, b"\x93NUMPY\x01\x00", b"\x89HDF\r\n", b"\x1f\x8b"),
            *(
                draw.randbytes(draw.randrange(1, 2000)),
                b"9" * 5000,
                b"\xef\xbb\xbf{}",
                b"\xff\xfe{",
            ),
        ]
    )


def _file(draw: random.Random, folder: Path) -> Path:
    return draw.choice(sorted(folder.iterdir()))


def _flip(draw: random.Random, folder: Path, canary: Path) -> None:
    file = _file(draw, folder)
    raw = bytearray(file.read_bytes())
    for _ in range(draw.choice([1, 1, 2, 50])):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    file.write_bytes(raw)


def _truncate(draw: random.Random, folder: Path, canary: Path) -> None:
    file = _file(draw, folder)
    os.truncate(file, draw.randrange(file.stat().st_size))


def _insert(draw: random.Random, folder: Path, canary: Path) -> None:
    file = _file(draw, folder)
    raw = file.read_bytes()
    at = draw.randrange(len(raw) + 1)
    file.write_bytes(raw[:at] + draw.randbytes(draw.randint(1, 64)) + raw[at:])


def _grow(draw: random.Random, folder: Path, canary: Path) -> None:
    """A manifest of 1 TB that takes no room: another file would be read to its end."""
    os.truncate(folder / VOUCHER, 10**12)


def _remove(draw: random.Random, folder: Path, canary: Path) -> None:
    _file(draw, folder).unlink()


def _swap(draw: random.Random, folder: Path, canary: Path) -> None:
    first, second = draw.sample(sorted(folder.iterdir()), 2)
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)


def _replace(draw: random.Random, folder: Path, canary: Path) -> None:
    _file(draw, folder).write_bytes(foreign(draw, canary))


def _odd_file(draw: random.Random, folder: Path, canary: Path) -> None:
    """A folder, a pipe, a device, a link to nowhere or to itself in place of a file."""
    file = _file(draw, folder)
    file.unlink()
    kind = draw.randrange(6)
    if kind == 0:
        file.mkdir()
    elif kind == 1:
        os.mkfifo(file)
    else:
        file.symlink_to(["/dev/zero", "/dev/null", "/nowhere", file.name][kind - 2])


def _odd_folder(draw: random.Random, folder: Path, canary: Path) -> None:
    """No folder, an empty one, a link to itself."""
    shutil.rmtree(folder)
    kind = draw.randrange(2)
    if kind == 0:
        folder.mkdir()
    else:
        folder.mkdir()
        (folder / VOUCHER).symlink_to(folder)


def _more(draw: random.Random, folder: Path, canary: Path) -> None:
    """A file that does not belong there, which nobody has a reason to open."""
    (folder / draw.choice(["pytorch_model.bin", "x", ".x"])).write_bytes(foreign(draw, canary))


def _other_name(draw: random.Random, folder: Path, canary: Path) -> None:
    name = draw.choice(["000003", "99999999", "000000", "0000002", "٠٠٠٠٠٣", "1" * 40])
    folder.rename(folder.with_name(f"checkpoint_{name}"))


INJURIES: dict[str, Damage] = {
    f.__name__.strip("_"): f
    for f in (
        *(_flip, _flip, _truncate, _insert, _grow, _remove, _swap, _replace),
        *(_odd_file, _odd_folder, _more),
    )
}


def _forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest, and put right checksums over it and over the files as they are now."""
    manifest = json.loads((folder / VOUCHER).read_text())
    del manifest["sha256"]
    for name in manifest["files"]:
        if (folder / name).is_file():
            manifest["files"][name] = _sha256(folder / name)
    change(manifest)
    (folder / VOUCHER).write_text(json.dumps({"sha256": _seal(manifest)} | manifest))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree of JSON."""
    pairs = [*tree.items()] if isinstance(tree, dict) else [*enumerate(tree)]
    found = [(tree, key) for key, _ in pairs]
    for _, value in pairs:
        if isinstance(value, dict | list):
            found += _places(value)
    return found


def _tree(draw: random.Random, folder: Path, canary: Path) -> None:
    """Values, keys and items of the manifest, one to three of them."""

    def change(manifest: dict[str, Any]) -> None:
        for _ in range(draw.choice([1, 1, 2, 3])):
            part = draw.choice(["states", "states", "states", "all"])
            places = _places(manifest if part == "all" else manifest.get(part) or manifest)
            if not places:
                return
            _change_at(draw, *draw.choice(places))

    _forge(folder, change)


def _change_at(draw: random.Random, container: Any, key: Any) -> None:
    kind = draw.randrange(5)
    if kind < 2:
        container[key] = draw.choice(ODD)
    elif kind == 2:
        del container[key]
    elif kind == 3 and isinstance(container, dict):
        container[draw.choice(["", "x", "../x", "$dict", "$tensor", f"{key} "])] = container.pop(
            key
        )
    elif kind == 3:
        container.append(container[key])
    else:
        container[key] = draw.choice([[container[key]], {"$tuple": [container[key]]}, {}])


def _number(draw: random.Random, folder: Path, canary: Path) -> None:
    """A number of the manifest becomes another."""

    def change(manifest: dict[str, Any]) -> None:
        numbers = [p for p in _places(manifest) if isinstance(p[0][p[1]], int | float)]
        container, key = draw.choice(numbers)
        container[key] = draw.choice([v for v in ODD if isinstance(v, int | float)])

    _forge(folder, change)


def _deep(draw: random.Random, folder: Path, canary: Path) -> None:
    """Lists or dicts in one another, as deep as the encoder goes."""

    def change(manifest: dict[str, Any]) -> None:
        tree: Any = 1
        for _ in range(draw.choice([50, 200, 400])):
            tree = draw.choice([lambda t: [t], lambda t: {"$dict": [["a", t]]}])(tree)
        container, key = draw.choice(_places(manifest["states"]))
        container[key] = tree

    _forge(folder, change)


def _header(draw: random.Random, folder: Path, canary: Path) -> None:
    """The header of a file of tensors: names, dtypes, shapes, offsets, its own length."""
    file = draw.choice(sorted(folder.glob("*.safetensors")))
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    places = [p for p in _places(header) if p[1] != "__metadata__"]
    container, key = draw.choice(places)
    odd = [*ODD, "F8_E4M3", "BF16", "I64", "BOOL", "U8", [2**62, 4], [0], [-1], [2**40, 0]]
    container[key] = draw.choice([v for v in odd if v != 10**400])
    text = json.dumps(header).encode()
    told = draw.choice([len(text), len(text), len(text), 0, 2**63, 2**64 - 1, len(text) + 1, 10**9])
    file.write_bytes(struct.pack("<Q", told) + text + body)
    _forge(folder, lambda manifest: None)


def _body(draw: random.Random, folder: Path, canary: Path) -> None:
    """The numbers of the tensors, at random."""
    file = draw.choice(sorted(folder.glob("*.safetensors")))
    raw = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", raw[:8])
    for _ in range(draw.choice([1, 8, 100])):
        raw[draw.randrange(8 + length, len(raw))] = draw.choice([0, 255, draw.randrange(256)])
    file.write_bytes(raw)
    _forge(folder, lambda manifest: None)


def _sealed_foreign(draw: random.Random, folder: Path, canary: Path) -> None:
    """Something else in place of a file that a run reads, with its right checksum."""
    file = draw.choice(sorted(folder.glob("*[!l].safetensors")))
    file.write_bytes(foreign(draw, canary))
    _forge(folder, lambda manifest: None)


def _outside(draw: random.Random, folder: Path, canary: Path) -> None:
    """A file of another folder is vouched for, or a state is said to be in it."""
    outside = folder.parent / "outside.safetensors"
    shutil.copy(folder / "master.safetensors", outside)

    def change(manifest: dict[str, Any]) -> None:
        name = draw.choice(
            ["../outside", str(outside.with_suffix("")), "..", ".", "a/../../outside"]
        )
        manifest["files"][f"{name}.safetensors"] = _sha256(outside)
        manifest["states"][draw.choice([name, "master"])] = manifest["states"].pop("master")

    _forge(folder, change)


FORGERIES: dict[str, Damage] = {
    "other_name": _other_name,
    **{
        f.__name__.strip("_"): f
        for f in (_tree, _number, _deep, _header, _body, _sealed_foreign, _outside)
    },
}
