"""Image sets from files in their true formats, and what is said where there are none."""

import ast
import gzip
import pickle
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parle_ray.data
from parle_ray.data import NAMES, DataNotFound, load, sources
from parle_ray.data.catalogue import FACTS
from parle_ray.data.mat import read_mat
from parle_ray.errors import InputError

NUM_TRAIN, NUM_TEST = 10, 3


@pytest.fixture(autouse=True)
def small_sets_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set is of 10 + 3 images, no folder is outside the test's, and a download fails."""

    def no_network(name: str, root: Path) -> None:
        raise RuntimeError("no network\nin a test")

    for name, facts in FACTS.items():
        layouts = tuple(
            replace(one, folders=tuple(f for f in one.folders if not f.startswith("/")))
            for one in facts.layouts
        )
        small = replace(facts, num_train=NUM_TRAIN, num_test=NUM_TEST, layouts=layouts)
        monkeypatch.setitem(FACTS, name, small)
    monkeypatch.setattr(sources, "download", no_network)


def pixels_and_labels(name: str, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    facts = FACTS[name]
    return (
        rng.integers(0, 256, (num, *facts.image_shape), dtype=np.uint8),
        rng.integers(0, facts.num_classes, num),
    )


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, name: str, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pack: Callable[[bytes], bytes] = gzip.compress if suffix else bytes
    for half, num, seed in (("train", NUM_TRAIN, 0), ("t10k", NUM_TEST, 1)):
        images, labels = pixels_and_labels(name, num, seed)
        (folder / f"{half}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images[:, 0])))
        (folder / f"{half}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))


def cifar_parts(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """File name (without .bin) -> what is in it."""
    images, labels = pixels_and_labels(name, NUM_TRAIN, 0)
    if name == "cifar100":
        return {"train": (images, labels), "test": pixels_and_labels(name, NUM_TEST, 1)}
    parts = {
        f"data_batch_{i + 1}": (images[2 * i : 2 * i + 2], labels[2 * i : 2 * i + 2])
        for i in range(5)
    }
    return parts | {"test_batch": pixels_and_labels(name, NUM_TEST, 1)}


def write_cifar_binary(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    for file, (images, labels) in cifar_parts(name).items():
        columns = [labels.astype(np.uint8)[:, None], images.reshape(len(images), -1)]
        coarse = [np.full((len(images), 1), 77, np.uint8)] if name == "cifar100" else []
        (folder / f"{file}.bin").write_bytes(np.concatenate(coarse + columns, axis=1).tobytes())


def python_2_pickle(images: np.ndarray, key: str, labels: np.ndarray) -> bytes:
    """The opcodes that Python 2's cPickle wrote into the real CIFAR files (protocol 2)."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    raw = images.reshape(len(images), -1)
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b")
    shape = number(len(raw)) + number(raw.shape[1]) + b"\x86"
    array += b"\x87R(K\x01" + shape + dtype + b"\x89" + text(raw.tobytes()) + b"tb"
    numbers = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + numbers + b"u."


def python_3_pickle(images: np.ndarray, key: str, labels: np.ndarray) -> bytes:
    batch = {b"data": images.reshape(len(images), -1), key.encode(): labels.tolist()}
    return pickle.dumps(batch, protocol=2)


def write_cifar_pickles(folder: Path, name: str, write: Callable[..., bytes]) -> None:
    folder.mkdir(parents=True)
    key = "fine_labels" if name == "cifar100" else "labels"
    for file, (images, labels) in cifar_parts(name).items():
        (folder / file).write_bytes(write(images, key, labels))


def mat_element(kind: int, data: bytes) -> bytes:
    if len(data) <= 4:  # the small form
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def mat(arrays: dict[str, np.ndarray], compress: bool) -> bytes:
    out = b"MATLAB 5.0 MAT-file, written by a test".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    for name, array in arrays.items():
        body = mat_element(6, struct.pack("<II", 9, 0))
        body += mat_element(5, struct.pack(f"<{array.ndim}i", *array.shape))
        body += mat_element(1, name.encode()) + mat_element(2, array.tobytes(order="F"))
        element = mat_element(14, body)
        packed = zlib.compress(element)
        out += struct.pack("<II", 15, len(packed)) + packed if compress else element
    return out


def write_svhn(folder: Path, name: str, compress: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for half, num, seed in (("train", NUM_TRAIN, 0), ("test", NUM_TEST, 1)):
        images, labels = pixels_and_labels(name, num, seed)
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        arrays = {"X": images.transpose(2, 3, 1, 0), "y": y}
        (folder / f"{half}_32x32.mat").write_bytes(mat(arrays, compress))


FORMS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "idx in torchvision's folder": ("mnist", lambda r: write_idx(r / "MNIST/raw", "mnist")),
    "idx.gz in a plain folder": ("mnist", lambda r: write_idx(r / "mnist", "mnist", ".gz")),
    "fashion idx": (
        "fashion_mnist",
        lambda r: write_idx(r / "FashionMNIST/raw", "fashion_mnist"),
    ),
    "fashion idx.gz": (
        "fashion_mnist",
        lambda r: write_idx(r / "fashion_mnist", "fashion_mnist", ".gz"),
    ),
    "cifar10 binary": (
        "cifar10",
        lambda r: write_cifar_binary(r / "cifar-10-batches-bin", "cifar10"),
    ),
    "cifar100 binary": ("cifar100", lambda r: write_cifar_binary(r / "cifar100", "cifar100")),
    "cifar10 python 2": (
        "cifar10",
        lambda r: write_cifar_pickles(r / "cifar-10-batches-py", "cifar10", python_2_pickle),
    ),
    "cifar10 python 3": (
        "cifar10",
        lambda r: write_cifar_pickles(r / "cifar10", "cifar10", python_3_pickle),
    ),
    "cifar100 python": (
        "cifar100",
        lambda r: write_cifar_pickles(r / "cifar-100-python", "cifar100", python_2_pickle),
    ),
    "svhn compressed": ("svhn", lambda r: write_svhn(r / "svhn", "svhn", True)),
    "svhn plain, torchvision's folder": ("svhn", lambda r: write_svhn(r, "svhn", False)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_set_is_read_back_from_its_files_to_the_pixel(form: str, tmp_path: Path) -> None:
    name, write = FORMS[form]
    write(tmp_path)
    for half, num, seed in zip(load(name, tmp_path), (NUM_TRAIN, NUM_TEST), (0, 1), strict=True):
        images, labels = pixels_and_labels(name, num, seed)
        assert np.array_equal(half.images, images)
        assert np.array_equal(half.labels, labels)
        assert (half.name, half.num_classes) == (name, FACTS[name].num_classes)


@pytest.mark.parametrize("form", FORMS)
def test_every_truncated_file_is_refused_by_its_name(form: str, tmp_path: Path) -> None:
    name, write = FORMS[form]
    write(tmp_path)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        whole = path.read_bytes()
        for cut in (0, len(whole) // 2, len(whole) - 9):
            path.write_bytes(whole[:cut])
            with pytest.raises(InputError, match=path.name):
                load(name, tmp_path)
        path.write_bytes(whole)
    load(name, tmp_path)


def test_a_whole_record_less_is_noticed(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path / "cifar10", "cifar10")
    path = tmp_path / "cifar10/test_batch.bin"
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(InputError, match=r"test_batch\.bin: has images of shape \(2, 3, 32, 32\)"):
        load("cifar10", tmp_path)


def test_a_file_of_another_magic_number_or_label_range_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", "mnist")
    labels = tmp_path / "mnist/train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.full(NUM_TRAIN, 10)))
    with pytest.raises(InputError, match=r"train-labels.*10\.\.10, mnist has 0\.\.9"):
        load("mnist", tmp_path)
    labels.write_bytes(b"\0\0\x0d\x01" + labels.read_bytes()[4:])
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: does not begin as an IDX"):
        load("mnist", tmp_path)


class Hostile:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


class HostileEval(Hostile):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('pathlib').Path({str(self.canary)!r}).touch()",)


@pytest.mark.parametrize("hostile", [Hostile, HostileEval])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    hostile: type[Hostile], protocol: int, tmp_path: Path
) -> None:
    write_cifar_pickles(tmp_path / "cifar10", "cifar10", python_2_pickle)
    canary = tmp_path / "canary"
    payload = {"data": hostile(canary), "labels": [0]}
    (tmp_path / "cifar10/data_batch_1").write_bytes(pickle.dumps(payload, protocol))
    with pytest.raises(InputError, match="data_batch_1: refused as a CIFAR batch"):
        load("cifar10", tmp_path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(payload, protocol))  # noqa: S301 - it is hostile indeed
    assert canary.exists()


def test_an_array_of_objects_in_a_pickle_is_refused(tmp_path: Path) -> None:
    write_cifar_pickles(tmp_path / "cifar10", "cifar10", python_2_pickle)
    batch = {"data": np.array([["a", 1]], dtype=object), "labels": [0]}
    (tmp_path / "cifar10/test_batch").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(InputError, match="test_batch: refused"):
        load("cifar10", tmp_path)


def test_a_matlab_file_of_small_types_and_a_missing_array_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(mat({"X": np.arange(3, dtype=np.uint8)[None]}, False))
    assert read_mat(path, ("X",))["X"].tolist() == [[0, 1, 2]]
    with pytest.raises(InputError, match="no array 'y' in it"):
        read_mat(path, ("X", "y"))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"digits"}))
def test_offline_and_without_files_one_error_names_three_ways_out(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(DataNotFound) as caught:
        load(name, tmp_path)
    first, *ways = str(caught.value).splitlines()
    assert first.startswith(f"{name}: no files below {tmp_path}")
    assert "RuntimeError: no network in a test" in first
    assert [way.split()[0] for way in ways] == ["1.", "2.", "3."]
    assert ("apt-get install dataset-fashion-mnist" in ways[0]) == (name == "fashion_mnist")
    assert "digits" in ways[2]
    assert not [p for p in tmp_path.rglob("*") if p.is_dir()]
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - it crosses processes
    assert type(copy) is DataNotFound
    assert str(copy) == str(caught.value)


def test_an_incomplete_folder_is_named_when_nothing_else_is_found(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", "mnist")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataNotFound, match="mnist/t10k-labels-idx1-ubyte is missing"):
        load("mnist", tmp_path)


def test_a_download_appears_whole_and_happens_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fake(name: str, root: Path) -> None:
        calls.append(name)
        write_idx(root / "MNIST/raw", name)
        (root / "MNIST/raw/all.tar.gz").touch()
        assert sources.find(name, tmp_path) is None

    monkeypatch.setattr(sources, "download", fake)
    first, second = load("mnist", tmp_path)[0], load("mnist", tmp_path)[0]
    assert calls == ["mnist"]
    assert np.array_equal(first.images, second.images)
    assert not list(tmp_path.rglob("*.tar.gz"))
    assert not list(tmp_path.glob("*.part"))


def test_the_data_root_is_the_argument_else_the_environment_else_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLE_DATA", str(tmp_path / "env"))
    assert sources.data_root(tmp_path) == tmp_path
    assert sources.data_root() == tmp_path / "env"
    monkeypatch.delenv("PARLE_DATA")
    assert sources.data_root() == Path.home() / ".cache/parle_ray"


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"digits, mnist.*Did you mean 'fashion_mnist'\?"):
        load("fashion-mnist")


def test_the_digits_are_the_1797_real_ones_split_for_good() -> None:
    train, test = load("digits")
    assert train.images.shape == (1437, 1, 8, 8)
    assert test.images.shape == (360, 1, 8, 8)
    images = np.concatenate([train.images, test.images])
    labels = np.concatenate([train.labels, test.labels])
    # Counts by class of optdigits.tes; the sums are those of scikit-learn's copy.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.max() == 16
    assert images.sum(dtype=np.int64) == 561_718
    assert labels.sum() == 8_070
    assert len(np.unique(images.reshape(1797, -1), axis=0)) == 1797  # none is in both halves
    assert set(np.bincount(test.labels).tolist()) <= {35, 36, 37}
    assert train.images.mean() == pytest.approx(train.mean[0], abs=1e-3)
    assert train.images.std() == pytest.approx(train.std[0], abs=1e-3)


@pytest.mark.parametrize("package", ["data", "models"])
def test_importing_the_package_imports_neither_torchvision_nor_ray(package: str) -> None:
    folder = Path(parle_ray.data.__file__).parents[1] / package
    for path in folder.glob("*.py"):
        imports = [
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert not {name.split(".")[0] for name in imports} & {"torchvision", "ray", "scipy"}
