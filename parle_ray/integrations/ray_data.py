"""A `ray.data.Dataset` as the batches of every replica."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from parle_ray.errors import InputError, printable

if TYPE_CHECKING:
    from ray.data import Dataset

Collate = Callable[[dict[str, NDArray[Any]]], Any]
Dtypes = torch.dtype | dict[str, torch.dtype]


class RayDataBatches:
    """Passes over a Ray Data set: dicts of tensors by the name of their column.

    Each pass gives the same batches for the same (seed, rank, pass), whatever the cluster does
    meanwhile, and a resumed run goes on with the very next one, for which it reads the pass up to
    there again. Shuffles also follow the blocks of the data set, of which a read makes more on a
    cluster of more CPUs, unless its `override_num_blocks` says how many. What is left over at the
    end of a pass is not shown in it.

    Args:
        dataset: this replica's.
        num_rows: of it.
        batch_size: rows a batch; cut to `num_rows` when that is smaller.
        key: seed and rank, from which the shuffles draw.
        shuffle_rows: None is the order of the data set.
        dtypes: of all columns, or by name.
        collate_fn: `(columns as arrays) -> batch`, in the place of `dtypes`.
    """

    def __init__(
        self,
        dataset: "Dataset",
        num_rows: int,
        batch_size: int,
        *,
        key: tuple[int, int],
        shuffle_rows: int | None,
        dtypes: Dtypes | None,
        collate_fn: Collate | None,
    ) -> None:
        self._dataset = dataset
        self._batch_size = min(batch_size, num_rows)
        self._len = num_rows // self._batch_size
        self._key = key
        self._shuffle_rows = shuffle_rows
        self._dtypes = dtypes
        self._collate_fn = collate_fn
        self._pass = self._batch = 0

    def __len__(self) -> int:
        """Batches a pass."""
        return self._len

    def __iter__(self) -> Iterator[Any]:
        number = self._pass
        seed = np.random.SeedSequence((*self._key, number)).generate_state(1)[0]
        rows = self._dataset.iter_torch_batches(
            batch_size=self._batch_size,
            dtypes=self._dtypes,
            collate_fn=self._collate_fn,
            device="cpu",
            drop_last=True,
            local_shuffle_buffer_size=self._shuffle_rows,
            local_shuffle_seed=None if self._shuffle_rows is None else int(seed),
        )
        for batch in islice(rows, self._batch, None):
            # Moved on before the yield: a state taken while this batch is in use names the next.
            self._pass, self._batch = divmod(number * self._len + self._batch + 1, self._len)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """{"pass", "batch"}: the position of the batch that comes next."""
        return {"pass": self._pass, "batch": self._batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position.

        Raises:
            InputError: a pass has no such batch.
        """
        number, batch = state.get("pass"), state.get("batch")
        if not isinstance(number, int) or not isinstance(batch, int) or number < 0:
            raise InputError(f"batches_fn: {printable(dict(state))} is no position in a data set")
        if not 0 <= batch < self._len:
            raise InputError(
                f"batches_fn: {printable(dict(state))} does not fit, a pass has {self._len} "
                "batches; resume with the data and batch_size of the run"
            )
        self._pass, self._batch = number, batch


class RayData:
    """`batches_fn` of a trainer, from a Ray Data set that every replica streams.

        ParleTrainer(batches_fn=RayData(ray.data.read_parquet(path), batch_size=64), ...)

    Each replica reads for itself, so that one that dies or is slow keeps nobody waiting, as the
    consumers of one `streaming_split` do. Give `dataset.materialize()` where it fits into the
    object store: it is read once, beforehand. Otherwise each pass begins with a new reading, which
    takes seconds, and CPUs that replicas do not hold.

    Args:
        dataset: its rows become batches of `iter_torch_batches`.
        batch_size: rows a batch.
        shuffle_rows: how many rows are kept to draw from; None is the order of the data set.
        split: each replica sees only its part of the rows, which materializes the data set;
            otherwise each sees all, shuffled in its own way.
        seed: of the shuffles, >= 0.
        dtypes: of all columns, or by name, such as `torch.float32`.
        collate_fn: `(columns as arrays) -> batch`, in the place of `dtypes`.

    Raises:
        InputError: a number is out of range, or there are no rows.
    """

    def __init__(
        self,
        dataset: "Dataset",
        *,
        batch_size: int,
        shuffle_rows: int | None = None,
        split: bool = False,
        seed: int = 0,
        dtypes: Dtypes | None = None,
        collate_fn: Collate | None = None,
    ) -> None:
        for name, value, low in (
            ("batch_size", batch_size, 1),
            ("shuffle_rows", shuffle_rows, 1),
            ("seed", seed, 0),
        ):
            if value is not None and value < low:
                raise InputError(f"{name} must be >= {low}, got {value}")
        if split:
            dataset = dataset.materialize()
        dataset.context.execution_options.preserve_order = True
        self._dataset = dataset
        self._num_rows = dataset.count()  # once, and not in each replica
        if not self._num_rows:
            raise InputError(f"dataset: {dataset} has no rows")
        self._split = split
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle_rows = shuffle_rows
        self._dtypes = dtypes
        self._collate_fn = collate_fn

    def __call__(self, rank: int, num_replicas: int) -> RayDataBatches:
        """The batches of one replica.

        Raises:
            InputError: there are fewer rows than replicas to cut them for.
        """
        dataset, num_rows = self._dataset, self._num_rows
        if self._split:
            num_rows //= num_replicas
            if not num_rows:
                raise InputError(
                    f"batches_fn: {self._num_rows} rows cannot be cut for {num_replicas} replicas; "
                    "give split=False"
                )
            first = rank * num_rows
            cuts = [first, first + num_rows] if first else [num_rows]
            dataset = dataset.split_at_indices(cuts)[1 if first else 0]
        return RayDataBatches(
            dataset,
            num_rows,
            self._batch_size,
            key=(self._seed, rank),
            shuffle_rows=self._shuffle_rows,
            dtypes=self._dtypes,
            collate_fn=self._collate_fn,
        )
