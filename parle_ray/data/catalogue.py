"""Facts about each image set: its size, its normalisation, and the files it comes in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from parle_ray.data.formats import (
    Arrays,
    read_cifar_binary,
    read_cifar_pickle,
    read_idx_pair,
    read_svhn,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One form in which a set lies in a folder.

    Attributes:
        folders: Where to look, below the data root, or absolute.
        train: The files of each part of the training half (one call of `read` a tuple).
        test: Likewise of the test half.
        read: Files of one tuple -> images and labels.
        suffixes: What may follow a file's name, first choice first.
    """

    folders: tuple[str, ...]
    train: tuple[tuple[str, ...], ...]
    test: tuple[tuple[str, ...], ...]
    read: Callable[..., Arrays]
    suffixes: tuple[str, ...] = ("",)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a set before it is read; mean and std of the training half, 0..255."""

    image_shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    num_test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layouts: tuple[Layout, ...]
    torchvision_name: str
    mirror: bool = True
    package: str | None = None  # Debian's, if there is one


def _scaled(*values: float) -> tuple[float, ...]:
    """Published means and deviations are for pixels in 0..1."""
    return tuple(round(255 * value, 4) for value in values)


def _mnist_layout(*folders: str) -> Layout:
    return Layout(
        folders=folders,
        train=(("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),),
        test=(("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),),
        read=read_idx_pair,
        suffixes=("", ".gz"),
    )


def _cifar_layouts(
    binary: tuple[str, ...], python: str, plain: str, train: tuple[str, ...], test: str
) -> tuple[Layout, ...]:
    """The binary version first: it needs no unpickling."""
    labels, key = (2, "fine_labels") if plain == "cifar100" else (1, "labels")
    return (
        Layout(
            folders=(*binary, *(f"{plain}/{folder}" for folder in binary), plain),
            train=tuple((f"{name}.bin",) for name in train),
            test=((f"{test}.bin",),),
            read=partial(read_cifar_binary, label_bytes=labels),
        ),
        Layout(
            folders=(python, f"{plain}/{python}", plain),
            train=tuple((name,) for name in train),
            test=((test,),),
            read=partial(read_cifar_pickle, label_key=key),
        ),
    )


FACTS: dict[str, Facts] = {
    "mnist": Facts(
        image_shape=(1, 28, 28),
        num_classes=10,
        num_train=60_000,
        num_test=10_000,
        mean=_scaled(0.1307),
        std=_scaled(0.3081),
        layouts=(_mnist_layout("MNIST/raw", "mnist", "mnist/raw"),),
        torchvision_name="MNIST",
        mirror=False,
    ),
    "fashion_mnist": Facts(
        image_shape=(1, 28, 28),
        num_classes=10,
        num_train=60_000,
        num_test=10_000,
        mean=_scaled(0.2860),
        std=_scaled(0.3530),
        layouts=(
            _mnist_layout(
                "FashionMNIST/raw",
                "fashion_mnist",
                "fashion_mnist/raw",
                "fashion-mnist",
                "/usr/share/datasets/fashion-mnist",
            ),
        ),
        torchvision_name="FashionMNIST",
        package="dataset-fashion-mnist",
    ),
    "cifar10": Facts(
        image_shape=(3, 32, 32),
        num_classes=10,
        num_train=50_000,
        num_test=10_000,
        mean=_scaled(0.4914, 0.4822, 0.4465),
        std=_scaled(0.2470, 0.2435, 0.2616),
        layouts=_cifar_layouts(
            ("cifar-10-batches-bin", "cifar-10-binary"),
            "cifar-10-batches-py",
            "cifar10",
            tuple(f"data_batch_{i}" for i in range(1, 6)),
            "test_batch",
        ),
        torchvision_name="CIFAR10",
    ),
    "cifar100": Facts(
        image_shape=(3, 32, 32),
        num_classes=100,
        num_train=50_000,
        num_test=10_000,
        mean=_scaled(0.5071, 0.4865, 0.4409),
        std=_scaled(0.2673, 0.2564, 0.2762),
        layouts=_cifar_layouts(
            ("cifar-100-binary",), "cifar-100-python", "cifar100", ("train",), "test"
        ),
        torchvision_name="CIFAR100",
    ),
    "svhn": Facts(
        image_shape=(3, 32, 32),
        num_classes=10,
        num_train=73_257,
        num_test=26_032,
        mean=_scaled(0.4377, 0.4438, 0.4728),
        std=_scaled(0.1980, 0.2010, 0.1970),
        layouts=(
            Layout(
                folders=("svhn", "SVHN", "."),
                train=(("train_32x32.mat",),),
                test=(("test_32x32.mat",),),
                read=read_svhn,
            ),
        ),
        torchvision_name="SVHN",
        mirror=False,
    ),
}
