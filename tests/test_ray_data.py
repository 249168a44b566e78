"""A Ray Data set as batches: positions and cuts, on a stand-in for the data set."""

from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parle_ray.errors import InputError
from parle_ray.generators import Generators
from parle_ray.integrations.ray_data import RayData
from parle_ray.stream import BatchStream


class Rows:
    """What `ray.data.Dataset` is to us; a shuffle rolls the rows by its seed."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        self.context = SimpleNamespace(execution_options=SimpleNamespace(preserve_order=False))

    def count(self) -> int:
        return len(self.rows)

    def materialize(self) -> "Rows":
        return Rows(self.rows)

    def split_at_indices(self, cuts: list[int]) -> list["Rows"]:
        edges = [0, *cuts, len(self.rows)]
        return [Rows(self.rows[a:b]) for a, b in pairwise(edges)]

    def iter_torch_batches(self, *, batch_size: int, **options: Any) -> Iterator[Any]:
        seed = options["local_shuffle_seed"]
        by = 0 if seed is None else seed % len(self.rows)
        rows = self.rows[by:] + self.rows[:by]
        for first in range(0, len(rows) - batch_size + 1, batch_size):
            yield {"x": torch.tensor(rows[first : first + batch_size])}


def stream(data: RayData, rank: int = 0, num_replicas: int = 2) -> BatchStream:
    return BatchStream(data(rank, num_replicas), Generators(0, rank), "replica")


def taken(batches: BatchStream, num: int) -> list[list[int]]:
    return [batches.next()["x"].tolist() for _ in range(num)]


@pytest.mark.parametrize("before", [0, 1, 3, 4, 9])
def test_a_resumed_stream_gives_the_very_next_batch(before: int) -> None:
    data = RayData(Rows(list(range(14))), batch_size=3, shuffle_rows=5)  # type: ignore[arg-type]
    through, stopped, resumed = stream(data), stream(data), stream(data)
    taken(through, before)
    taken(stopped, before)
    resumed.load_state_dict(stopped.state_dict())
    assert taken(resumed, 9) == taken(through, 9)


def test_each_pass_and_each_rank_is_shuffled_in_its_own_way() -> None:
    rows = Rows(list(range(101)))
    data = RayData(rows, batch_size=101, shuffle_rows=5, seed=3)  # type: ignore[arg-type]
    assert rows.context.execution_options.preserve_order
    seen = [tuple(pass_) for rank in (0, 1) for pass_ in taken(stream(data, rank), 2)]
    assert len(set(seen)) == 4
    plain = RayData(rows, batch_size=101)  # type: ignore[arg-type]
    assert taken(stream(plain), 2) == [rows.rows, rows.rows]


def test_a_split_gives_each_replica_as_many_rows_of_its_own() -> None:
    data = RayData(Rows(list(range(11))), batch_size=5, split=True)  # type: ignore[arg-type]
    seen = [taken(stream(data, rank, 3), 1)[0] for rank in range(3)]
    assert seen == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert len(data(0, 2)) == 1


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (0, {}, "has no rows"),
        (4, {"batch_size": 0}, "batch_size must be >= 1, got 0"),
        (4, {"shuffle_rows": 0}, "shuffle_rows must be >= 1, got 0"),
        (4, {"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_what_gives_no_batches_is_refused(rows: int, options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RayData(Rows([0] * rows), **{"batch_size": 2, **options})  # type: ignore[arg-type]


def test_too_few_rows_and_a_strange_position_are_refused() -> None:
    data = RayData(Rows([1, 2]), batch_size=1, split=True)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 rows cannot be cut for 3 replicas"):
        data(0, 3)
    with pytest.raises(InputError, match="does not fit, a pass has 1 batches"):
        data(0, 2).load_state_dict({"pass": 0, "batch": 1})
    with pytest.raises(InputError, match="is no position"):
        data(0, 2).load_state_dict({"pass": "0"})
