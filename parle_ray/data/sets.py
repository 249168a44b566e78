"""`load`: an image set by its name, from files that are really that set, or a clear error."""

from pathlib import Path

import numpy as np

from parle_ray.data.catalogue import FACTS, Facts, Layout
from parle_ray.data.formats import Arrays, broken
from parle_ray.data.image_set import ImageSet
from parle_ray.data.sources import data_root, fetch, find, incomplete
from parle_ray.errors import InputError, nearest

NAMES = ("digits", *FACTS)


class DataNotFound(InputError):
    """A set's files are nowhere and cannot be downloaded; the message says what helps."""


def load(name: str, root: str | Path | None = None) -> tuple[ImageSet, ImageSet]:
    """(train, test) of the set `name`, one of `NAMES`. Never another set in its place.

    `digits` is bundled: the UCI 8x8 digits, 1,437 to train on and 360 held out, a fixed split by
    image, in proportion to the classes. The others are looked for in the data root (`root`, else
    the environment variable PARLE_DATA, else ~/.cache/parle_ray; torchvision's layout or a folder
    of the set's name), then in Debian's package (fashion_mnist), then downloaded by torchvision.

    Raises:
        InputError: no such name; or a file is truncated, of another format or another size.
        DataNotFound: no files, and the download failed.
    """
    if name == "digits":
        return _digits()
    if name not in FACTS:
        raise InputError(
            f"data set must be one of {', '.join(NAMES)}; got {name!r}.{nearest(name, NAMES)}"
        )
    where = data_root(root)
    found = find(name, where)
    if found is None:
        reason = fetch(name, where)
        found = find(name, where)
        if found is None:
            raise DataNotFound(_three_ways_out(name, where, reason or "it left files missing"))
    facts = FACTS[name]
    return (
        _half(name, facts, found.layout, found.train, facts.num_train),
        _half(name, facts, found.layout, found.test, facts.num_test),
    )


def _half(
    name: str, facts: Facts, layout: Layout, parts: list[list[Path]], expected: int
) -> ImageSet:
    shape = (expected // len(parts), *facts.image_shape)
    read: list[Arrays] = []
    for paths in parts:
        images, labels = layout.read(*paths)
        if images.shape != shape:
            raise broken(paths[0], f"has images of shape {images.shape}, {name} has {shape}")
        low, high = labels.min(), labels.max()
        if low < 0 or high >= facts.num_classes:
            most = facts.num_classes - 1
            raise broken(paths[-1], f"has labels {low}..{high}, {name} has 0..{most}")
        read.append((images, labels))
    images, labels = (
        read[0]
        if len(read) == 1
        else (
            np.concatenate([part[0] for part in read]),
            np.concatenate([part[1] for part in read]),
        )
    )
    return ImageSet(
        name=name,
        images=images,
        labels=labels,
        num_classes=facts.num_classes,
        mean=facts.mean,
        std=facts.std,
        mirror=facts.mirror,
    )


def _digits() -> tuple[ImageSet, ImageSet]:
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as arrays:
        train, test = (
            ImageSet(
                name="digits",
                images=arrays[f"{half}_images"],
                labels=arrays[f"{half}_labels"].astype(np.int64),
                num_classes=10,
                mean=(4.8853,),
                std=(6.0176,),
                mirror=False,
            )
            for half in ("train", "test")
        )
    return train, test


def _three_ways_out(name: str, root: Path, reason: str) -> str:
    facts = FACTS[name]
    layout = facts.layouts[0]
    files = ", ".join(file for part in (*layout.train, *layout.test) for file in part)
    package = f", or: apt-get install {facts.package}" if facts.package else ""
    partial = incomplete(name, root)
    missing = f" Incomplete: {partial[0]} is missing." if partial else ""
    return (
        f"{name}: no files below {root}, and the download failed ({reason}).{missing}\n"
        f"  1. put {files} into {root / layout.folders[0]}{package};\n"
        f"  2. or run this where there is a network and copy the data root here (--data_root, "
        f"PARLE_DATA): python -c \"from parle_ray.data import load; load('{name}')\";\n"
        "  3. or train on the bundled set: digits."
    )
