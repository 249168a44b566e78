"""The windows that replicas see, the loader that goes through them, and the augmentation."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from parle_ray.data import ImageLoader, ImageSet, batches, load
from parle_ray.data.augment import Choices, draw, flip_and_crop, padding
from parle_ray.data.catalogue import FACTS
from parle_ray.data.store import DeviceStore, HostStore
from parle_ray.errors import InputError


def image_set(num: int, size: int = 8, channels: int = 1) -> ImageSet:
    """Images of random bytes; the label of each is its row."""
    rng = np.random.default_rng(num)
    return ImageSet(
        name="rows",
        images=rng.integers(0, 256, (num, channels, size, size), dtype=np.uint8),
        labels=np.arange(num),
        num_classes=max(num, 1),
        mean=(100.0,) * channels,
        std=(50.0,) * channels,
    )


def test_an_image_set_cannot_be_written_to_and_survives_pickling() -> None:
    images = image_set(5)
    with pytest.raises(ValueError, match="read-only"):
        images.images[0] = 0
    copy = pickle.loads(pickle.dumps(images))  # noqa: S301 - it crosses processes
    assert np.array_equal(copy.images, images.images)


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": np.zeros((2, 1, 4, 4), np.float32)},
        {"images": np.zeros((2, 4, 4), np.uint8)},
        {"labels": np.array([0, 1, 0])},
        {"labels": np.array([0, 1], np.int32)},
        {"labels": np.array([0, 2])},
        {"mean": (0.0, 0.0)},
        {"std": (0.0,)},
    ],
)
def test_an_image_set_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"images": np.zeros((2, 1, 4, 4), np.uint8), "labels": np.array([0, 1])}
    given: dict[str, Any] = {"name": "x", "num_classes": 2, "mean": (0.0,), "std": (1.0,)}
    ImageSet(**given, **right)
    with pytest.raises(InputError, match="x: "):
        ImageSet(**(given | right | wrong))


def test_a_validation_split_is_disjoint_whole_and_a_function_of_the_seed() -> None:
    images = image_set(50)
    train, held_out = images.validation_split(20, seed=3)
    assert (len(train), len(held_out)) == (30, 20)
    assert sorted([*train.labels, *held_out.labels]) == list(range(50))
    assert np.array_equal(held_out.labels, images.validation_split(20, seed=3)[1].labels)
    assert not np.array_equal(held_out.labels, images.validation_split(20, seed=4)[1].labels)
    with pytest.raises(InputError, match="num_held_out must be 1"):
        images.validation_split(50)


@pytest.mark.parametrize(("num_replicas", "fraction"), [(3, 0.5), (6, 0.25), (4, 0.75), (2, 0.9)])
def test_windows_cover_each_image_as_often_as_designed(num_replicas: int, fraction: float) -> None:
    images = image_set(600)
    windows = [images.fraction(rank, num_replicas, fraction) for rank in range(num_replicas)]
    assert {len(window) for window in windows} == {round(600 * fraction)}
    shown = np.bincount(np.concatenate([window.labels for window in windows]), minlength=600)
    average = num_replicas * fraction
    assert shown.mean() == pytest.approx(average)
    assert int(average) <= shown.min() <= shown.max() <= int(np.ceil(average))


@pytest.mark.parametrize("num", [1437, 60_000 - 1, 7])
@pytest.mark.parametrize("num_replicas", [1, 2, 3, 6, 7])
def test_windows_of_one_nth_are_a_partition(num: int, num_replicas: int) -> None:
    images = image_set(num, size=1)
    rows = [images.window(rank, num_replicas, 1 / num_replicas) for rank in range(num_replicas)]
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(num))


def test_a_whole_fraction_is_the_set_itself_without_a_copy() -> None:
    images = image_set(9)
    assert images.fraction(1, 3, 1.0) is images


def fingerprint(loader: ImageLoader, num: int) -> list[tuple[bytes, tuple[int, ...]]]:
    """The next `num` batches of a loader, over as many passes as it takes."""
    out: list[tuple[bytes, tuple[int, ...]]] = []
    while True:
        for x, y in loader:
            out.append((x.numpy().tobytes(), tuple(y.tolist())))
            if len(out) == num:
                return out


def loader_of(images: ImageSet, **changes: Any) -> ImageLoader:
    return ImageLoader(images, **({"batch_size": 7, "augment": True, "seed": 1} | changes))


def test_a_pass_shows_every_image_once_and_the_next_pass_another_order() -> None:
    loader = ImageLoader(image_set(28), 7)
    passes = [torch.cat([y for _, y in loader]).tolist() for _ in range(3)]
    assert all(sorted(shown) == list(range(28)) for shown in passes)
    assert len({tuple(shown) for shown in passes}) == 3
    assert len(loader) == 4
    assert loader.state_dict() == {"epoch": 3, "batch": 0}


def test_batches_are_normalised_images_of_fixed_shape_and_leftovers_are_dropped() -> None:
    images = image_set(30, channels=3)
    loader = ImageLoader(images, 7)
    seen = list(loader)
    assert len(seen) == len(loader) == 4
    for x, y in seen:
        assert x.shape == (7, 3, 8, 8)
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        expected = (images.images[y.numpy()].astype(np.float32) - 100) / 50
        assert np.array_equal(x.numpy(), expected)


def test_batches_are_a_function_of_seed_rank_and_epoch_only() -> None:
    images = image_set(30)
    base = fingerprint(loader_of(images), 9)
    torch.manual_seed(99)
    np.random.seed(99)
    assert fingerprint(loader_of(images), 9) == base
    for changes in ({"seed": 2}, {"rank": 1, "num_replicas": 2}):
        other = fingerprint(loader_of(images, **changes), 9)
        assert all(a[1] != b[1] for a, b in zip(base, other, strict=True))


def test_no_global_generator_is_used() -> None:
    before = torch.get_rng_state(), str(np.random.get_state())
    fingerprint(loader_of(image_set(30)), 9)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]


def test_a_loader_resumes_at_every_position_to_the_bit() -> None:
    images = image_set(30)
    whole = fingerprint(loader_of(images), 14)  # 4 batches a pass
    for position in range(12):
        first = loader_of(images)
        if position:
            fingerprint(first, position)  # stops with the iterator alive, at a pass's end too
        second = loader_of(images)
        second.load_state_dict(first.state_dict())
        assert fingerprint(second, 14 - position) == whole[position:]


def test_a_state_taken_while_a_batch_is_in_use_names_the_next() -> None:
    loader = loader_of(image_set(30))
    states = [tuple(loader.state_dict().values()) for _ in loader]
    assert states == [(0, 1), (0, 2), (0, 3), (1, 0)]
    loader.load_state_dict({"epoch": 0, "batch": 4})  # written as a pass's end: the same place
    assert loader.state_dict() == {"epoch": 1, "batch": 0}


def test_a_state_of_another_loader_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit: a pass has 4 batches of 7"):
        loader_of(image_set(30)).load_state_dict({"epoch": 0, "batch": 5})
    with pytest.raises(InputError, match="has no whole epoch and batch"):
        loader_of(image_set(30)).load_state_dict({"epoch": float("inf")})  # type: ignore[dict-item]


def test_a_window_smaller_than_a_batch_is_one_batch_and_an_empty_one_is_refused() -> None:
    loader = ImageLoader(image_set(30), 128, rank=1, num_replicas=3, fraction=1 / 3)
    assert [len(y) for _, y in loader] == [10]
    with pytest.raises(InputError, match=r"replica 0 has no data: fraction 0\.1 of rows's 5"):
        ImageLoader(image_set(5), 4, num_replicas=3, fraction=0.1)
    with pytest.raises(InputError, match="no data"):
        ImageLoader(image_set(0), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0"),
        ({"rank": 3, "num_replicas": 3}, "rank must be 0..num_replicas-1"),
        ({"fraction": 0.0}, "fraction must be > 0"),
        ({"fraction": 1.5}, "fraction must be > 0 and <= 1, got 1.5"),
    ],
)
def test_a_wrong_argument_of_the_loader_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loader_of(image_set(30), **changes)


def test_images_too_small_for_the_crop_are_refused() -> None:
    with pytest.raises(InputError, match="augment needs images larger than 1 x 1"):
        loader_of(image_set(30, size=1))


def test_without_shuffle_the_order_is_that_of_the_set() -> None:
    loader = ImageLoader(image_set(12), 4, shuffle=False)
    assert torch.cat([y for _, y in loader]).tolist() == list(range(12))


def test_evaluation_batches_are_the_whole_set_in_order() -> None:
    images = image_set(10)
    seen = list(batches(images, 4))
    assert [len(y) for _, y in seen] == [4, 4, 2]
    assert torch.cat([y for _, y in seen]).tolist() == list(range(10))
    x = torch.cat([x for x, _ in seen])
    assert torch.equal(x, (torch.tensor(images.images).float() - 100) / 50)


PAD = padding(32)


def test_padding_is_the_papers_four_pixels_of_cifar_and_an_eighth_elsewhere() -> None:
    assert [padding(size) for size in (32, 28, 8, 6)] == [4, 3, 1, 1]


def test_images_of_digits_are_never_mirrored() -> None:
    assert [load("digits")[0].mirror, FACTS["mnist"].mirror, FACTS["cifar10"].mirror] == [
        False,
        False,
        True,
    ]
    assert not draw(np.random.default_rng(0), 1000, 1, mirror=False).flip.any()


def reference_crop(image: np.ndarray, flip: int, down: int, right: int) -> np.ndarray:
    """The paper's words, one image at a time: flip, pad by reflection, cut a window."""
    _, height, width = image.shape
    padded = np.pad(
        image[:, :, ::-1] if flip else image, ((0, 0), (PAD, PAD), (PAD, PAD)), "reflect"
    )
    return padded[:, PAD + down : PAD + down + height, PAD + right : PAD + right + width]


def test_augmentation_equals_flip_pad_and_crop_for_every_choice() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 6, 9), dtype=np.uint8)
    shifts = range(-PAD, PAD + 1)
    every = [(flip, down, right) for flip in (0, 1) for down in shifts for right in shifts]
    choices = Choices(*torch.tensor(every).T)
    out = flip_and_crop(torch.tensor(image).expand(len(every), -1, -1, -1), choices)
    for choice, cropped in zip(every, out.numpy(), strict=True):
        assert np.array_equal(cropped, reference_crop(image, *choice))


def test_all_choices_of_the_augmentation_are_drawn_about_equally_often() -> None:
    choices = draw(np.random.default_rng(0), 18_000, PAD, mirror=True)
    assert abs(int(choices.flip.sum()) - 9000) < 300
    for shift in (choices.down, choices.right):
        counts = torch.bincount(shift + PAD)
        assert len(counts) == 2 * PAD + 1
        assert (counts - 2000).abs().max() < 200


def test_a_device_store_gives_what_the_host_gives() -> None:
    images = image_set(20)
    rows, places = np.array([3, 5, 7, 11]), np.array([2, 0, 3])
    on_host = HostStore(images, rows).take(places)
    on_device = DeviceStore(images, rows, torch.device("cpu")).take(places)
    assert all(torch.equal(a, b) for a, b in zip(on_host, on_device, strict=True))
    assert on_host[1].tolist() == [7, 3, 11]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_are_those_of_the_host() -> None:
    images = image_set(60, channels=3)
    on_host = loader_of(images, num_replicas=2, fraction=0.5)
    on_gpu = loader_of(images, num_replicas=2, fraction=0.5).to("cuda")
    for (x, y), (x_gpu, y_gpu) in zip(on_host, on_gpu, strict=True):
        assert x_gpu.is_cuda
        assert torch.equal(y, y_gpu.cpu())
        torch.testing.assert_close(x, x_gpu.cpu())
