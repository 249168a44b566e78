"""A stream of batches goes on for ever, and from any position, bit for bit."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from parle_ray.errors import InputError
from parle_ray.generators import Generators
from parle_ray.stream import BatchStream

NUMBERS = torch.arange(10)


class Stateful:
    """A loader that knows its own position; counts how many batches it had to make."""

    def __init__(self) -> None:
        self.position = 0
        self.made = 0

    def __iter__(self) -> Iterator[Tensor]:
        while self.position < 4:
            self.position += 1
            self.made += 1
            yield torch.tensor([self.position])
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


class Endless(IterableDataset[Tensor]):
    """Draws a number whenever one is asked for; has no length."""

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.randint(1000, ())


class OwnOrder:
    """A list shuffled by a generator of its own, which no global seed reaches."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def __iter__(self) -> Iterator[Tensor]:
        yield from NUMBERS[torch.randperm(10, generator=self.generator)].split(3)


def shuffled() -> DataLoader[Any]:
    return DataLoader(TensorDataset(NUMBERS), batch_size=4, shuffle=True)


def shuffled_by_its_own() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(8)
    return DataLoader(TensorDataset(NUMBERS), batch_size=4, shuffle=True, generator=generator)


MAKERS: dict[str, Callable[[], Iterable[Any]]] = {
    "a list": lambda: list(NUMBERS.split(4)),
    "a tensor of batches": lambda: NUMBERS.reshape(5, 2),
    "a shuffling DataLoader": shuffled,
    "a DataLoader with its own generator": shuffled_by_its_own,
    "an iterable with its own order": OwnOrder,
    "an endless dataset": lambda: DataLoader(Endless(), batch_size=3),
    "a loader with a state": Stateful,
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def new(make: Callable[[], Iterable[Any]]) -> tuple[BatchStream, Generators]:
    generators = Generators(0)
    with generators:
        return BatchStream(make(), generators, "replica 0"), generators


def take(stream: BatchStream, generators: Generators, num_batches: int) -> list[list[int]]:
    """Batches as lists, each followed by a draw, as dropout does between batches."""
    taken = []
    with generators:
        for _ in range(num_batches):
            batch = stream.next()
            tensor = batch[0] if isinstance(batch, list | tuple) else batch
            taken.append([*tensor.tolist(), torch.randint(1000, ()).item()])
    return taken


@makers
@settings(max_examples=8)
@given(before=st.integers(0, 9))
def test_a_restored_stream_goes_on_with_the_very_next_batch(
    make: Callable[[], Iterable[Any]], before: int
) -> None:
    stream, generators = new(make)
    take(stream, generators, before)
    saved = copy.deepcopy([stream.state_dict(), generators.state_dict()])
    expected = take(stream, generators, 7)

    again, restored = new(make)
    with restored:
        again.load_state_dict(saved[0])
    restored.load_state_dict(saved[1])
    assert take(again, restored, 7) == expected


@makers
def test_a_stream_never_ends(make: Callable[[], Iterable[Any]]) -> None:
    stream, generators = new(make)
    assert len(take(stream, generators, 25)) == 25


def test_each_pass_shows_every_example_once_in_another_order() -> None:
    stream, generators = new(shuffled)
    passes = [[n for b in take(stream, generators, 3) for n in b[:-1]] for _ in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(10))
    assert passes[0] != passes[1]


def test_a_loader_with_a_state_is_not_fast_forwarded() -> None:
    stream, generators = new(Stateful)
    take(stream, generators, 7)
    saved = copy.deepcopy(stream.state_dict())
    loader = Stateful()
    again = BatchStream(loader, generators, "replica 0")
    again.load_state_dict(saved)
    assert loader.made == 0
    take(again, generators, 1)
    assert loader.made == 1


def test_a_position_after_the_end_of_a_pass_that_has_become_shorter_is_the_next_pass() -> None:
    stream, generators = new(lambda: list(NUMBERS.split(2)))
    take(stream, generators, 4)
    shorter, _ = new(lambda: list(NUMBERS.split(4)))
    shorter.load_state_dict(stream.state_dict())
    assert take(shorter, generators, 1)[0][:-1] == [0, 1, 2, 3]


def test_the_length_of_a_pass_is_known_where_the_batches_have_one() -> None:
    assert new(shuffled)[0].batches_per_pass == 3
    assert new(OwnOrder)[0].batches_per_pass is None
    assert new(lambda: DataLoader(Endless(), batch_size=3))[0].batches_per_pass is None


@pytest.mark.parametrize(
    ("batches", "num_good", "said"),
    [
        ([], 0, ["replica 0", "are empty", "at least one batch"]),
        ((n for n in NUMBERS.split(4)), 3, ["replica 0", "only once", "not a generator"]),
    ],
)
def test_a_pass_without_batches_is_an_error_that_says_why(
    batches: Iterable[Any], num_good: int, said: list[str]
) -> None:
    generators = Generators(0)
    stream = BatchStream(batches, generators, "replica 0")
    take(stream, generators, num_good)
    with pytest.raises(InputError) as refusal:
        stream.next()
    assert all(words in str(refusal.value) for words in said)


def test_batches_that_cannot_be_gone_through_are_refused() -> None:
    with pytest.raises(InputError, match="replica 0 got int, which is not iterable"):
        BatchStream(3, Generators(0), "replica 0")  # type: ignore[arg-type]
