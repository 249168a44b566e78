"""The batches of one replica, for ever, with a position that can be saved."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from parle_ray.errors import InputError
from parle_ray.generators import Generators


class BatchStream:
    """Goes through an iterable again and again, and knows where it is.

    On resume an iterable with `state_dict` and `load_state_dict` is restored by them (our
    `ImageLoader`, torchdata's `StatefulDataLoader`). Any other is fast-forwarded: the passes
    before are drawn again and dropped, and the last one is entered with the random numbers that
    it was entered with before. Both continue with the very next batch, bit for bit.

    Args:
        batches: what the user's `batches_fn` returned.
        generators: the replica's; installed by the caller around every call.
        label: how errors call this stream, such as "replica 1".
    """

    def __init__(self, batches: Iterable[Any], generators: Generators, label: str) -> None:
        if not hasattr(batches, "__iter__"):
            raise InputError(
                f"batches_fn: {label} got {type(batches).__name__}, which is not iterable; "
                "return a DataLoader, a list of batches or an object with __iter__"
            )
        self._batches = batches
        self._generators = generators
        self._label = label
        self._iterator: Iterator[Any] | None = None
        self._pass, self._batch = 0, 0
        self._entered_with: dict[str, Any] = generators.state_dict()

    @property
    def batches_per_pass(self) -> int | None:
        """Mini-batches in one pass, or None where the iterable has no length."""
        try:
            return len(self._batches)  # type: ignore[arg-type]
        except TypeError:
            return None

    def next(self) -> Any:
        """The next batch.

        Raises:
            InputError: a whole pass gave nothing, as an empty shard or a spent iterator does.
        """
        for attempt in range(3):
            if self._iterator is None:
                self._entered_with = self._generators.state_dict()
                self._iterator = iter(self._batches)
            try:
                batch = next(self._iterator)
            except StopIteration:
                self._iterator = None
                # A restored loader may stand at the very end of its pass: allow one empty one.
                if attempt == 0 and self._batch > 0:
                    self._pass, self._batch = self._pass + 1, 0
                continue
            self._batch += 1
            return batch
        spent = isinstance(self._batches, Iterator)
        raise InputError(
            f"batches_fn: the batches of {self._label} "
            + (
                "can be gone through only once; return an iterable that starts anew, such as a "
                "DataLoader or a list, not a generator"
                if spent
                else "are empty; give every replica at least one batch: fewer replicas, a smaller "
                "batch size, or drop_last=False"
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: passes done, batches taken of this one, and how it was entered."""
        state = {"pass": self._pass, "batch": self._batch, "entered_with": self._entered_with}
        if hasattr(self._batches, "state_dict"):
            state["batches"] = self._batches.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where a saved stream stood."""
        self._pass, self._batch = state["pass"], state["batch"]
        self._entered_with = state["entered_with"]
        self._iterator = None
        if hasattr(self._batches, "load_state_dict"):
            self._batches.load_state_dict(state["batches"])
            return
        for _ in range(self._pass):
            for _ in self._batches:
                pass
        if self._batch > 0:
            self._generators.load_state_dict(self._entered_with)
            self._iterator = iter(self._batches)
            for _ in islice(self._iterator, self._batch):  # a pass may be shorter than it was
                pass
