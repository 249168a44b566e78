"""A text as bytes, cut into examples, and its loader: each byte is the label of those before it."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parle_ray.data.passes import Batch, Passes
from parle_ray.data.windows import check_held_out, window
from parle_ray.errors import InputError, printable

NUM_BYTES = 256
DIGITS = 16
"""Hexadecimal digits of a SHA-256 that are told, and compared on resume."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextSet:
    """A text of bytes and where its examples start; never written to.

    Example i has the inputs text[s : s + context] and the labels text[s + 1 : s + context + 1],
    s = starts[i]. NumPy, as `ImageSet` is, so that a node's replicas share one copy.

    Attributes:
        name: as in `parle_ray.data.load_examples`.
        text: uint8, shape (num_bytes,).
        starts: int64, shape (N,).
        context: bytes of an example.
        digest: SHA-256, in hexadecimal, of all that was read, also of what is not in this part.
        source: what was read.

    Raises:
        InputError: the text has no room for an example of this context.
    """

    name: str
    text: NDArray[np.uint8]
    starts: NDArray[np.int64]
    context: int
    digest: str
    source: str

    at_once: ClassVar[int] = 64
    """Examples that one forward pass of an evaluation takes."""
    most_held_out: ClassVar[int] = 512
    """Examples on which a choice between candidates needs to be scored, at most."""

    def __post_init__(self) -> None:
        if self.context < 1:
            raise InputError(f"data.context must be >= 1, got {self.context}.")
        last = int(self.starts.max(initial=0)) + self.context
        if len(self.starts) == 0 or last >= len(self.text):
            raise InputError(
                f"data.context: {self.name} has {len(self.text):,} bytes, none of its examples "
                f"can have {self.context}; give a smaller context."
            )
        for field in ("text", "starts"):
            view = getattr(self, field).view()
            view.flags.writeable = False
            object.__setattr__(self, field, view)

    @classmethod
    def cut(cls, text: bytes, context: int, **described: str) -> "TextSet":
        """The text in examples one after the other: each byte but the first is a label once."""
        starts = np.arange(0, max(1, len(text) - context), max(1, context))
        array = np.frombuffer(text, np.uint8)
        return cls(text=array, starts=starts, context=context, **described)

    def __len__(self) -> int:
        return len(self.starts)

    def __repr__(self) -> str:
        return f"TextSet({self.name}, {len(self)} of {self.context} bytes)"

    @property
    def origin(self) -> str:
        """What was read, and by which checksum it is known."""
        return f"{self.source}, SHA-256 {self.digest[:DIGITS]}, {self.context} bytes an example"

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What a network has to know of the data."""
        return {"num_classes": NUM_BYTES, "context": self.context}

    def metrics(self, accuracy: float, loss: float) -> dict[str, float]:
        """An evaluation under the names of metrics, from means over all labels; loss in nats."""
        bits = loss / math.log(2.0)
        return {"accuracy": accuracy, "test_loss": loss, "bits_per_byte": bits}

    def take(self, rows: NDArray[np.int64]) -> "TextSet":
        """The examples of these rows, in this order, as a set of its own; the text is shared."""
        return dataclasses.replace(self, starts=self.starts[rows])

    def validation_split(self, num_held_out: int) -> tuple["TextSet", "TextSet"]:
        """(train, held out): the last examples are held out, so that few files are in both.

        Raises:
            InputError: nothing would be left on one side.
        """
        check_held_out(self.name, num_held_out, len(self), "examples")
        rows = np.arange(len(self))
        return self.take(rows[:-num_held_out]), self.take(rows[-num_held_out:])


class TextLoader(Passes):
    """Passes over a replica's window of a text's examples (`Passes`).

    A batch is (x, y): both int64 (B, context), y the byte after each of x.

    Args:
        texts: the set; its arrays are read, never copied, unless `to` moves them to a device.
        batch_size, rank, seed, shuffle: as in `Passes`.
        num_replicas: how many replicas share the set.
        fraction: how much of the set this replica sees (`windows.window`); 1 is all.

    Raises:
        InputError: an argument is out of range, or the window is empty.
    """

    def __init__(
        self,
        texts: TextSet,
        batch_size: int,
        *,
        rank: int = 0,
        num_replicas: int = 1,
        seed: int = 0,
        fraction: float = 1.0,
        shuffle: bool = True,
    ) -> None:
        rows = window(len(texts), rank, num_replicas, fraction)
        whole = f"fraction {fraction} of {texts.name}'s {len(texts)} examples"
        super().__init__(len(rows), whole, batch_size, rank=rank, seed=seed, shuffle=shuffle)
        self._starts, self._texts = texts.starts[rows], texts
        self._moved: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """Moves the loader; on an accelerator the text's bytes move there once."""
        device = torch.device(device)
        on_host = device.type == "cpu"
        self._moved = None if on_host else torch.from_numpy(self._texts.text.copy()).to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """The position (`Passes`), and of which text."""
        return super().state_dict() | {"text": self._texts.digest[:DIGITS]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a position.

        Raises:
            InputError: a pass has no such batch, or it is that of another text.
        """
        mine = self._texts.digest[:DIGITS]
        if state.get("text") != mine:
            raise InputError(
                f"loader state is of the text with SHA-256 {printable(state.get('text'))}, "
                f"{self._texts.name} has {mine} here: resume with the text, and the Python, of the "
                "run."
            )
        super().load_state_dict(state)

    def _make(self, places: NDArray[np.int64], epoch: int, batch: int) -> Batch:
        return _take(self._texts, self._starts[places], self._moved)


def text_batches(texts: TextSet, batch_size: int) -> Iterator[Batch]:
    """The whole set once in its order, for evaluation; the last batch may be short."""
    for begin in range(0, len(texts), batch_size):
        yield _take(texts, texts.starts[begin : begin + batch_size], None)


def _take(texts: TextSet, starts: NDArray[np.int64], moved: Tensor | None) -> Batch:
    places = starts[:, None] + np.arange(texts.context + 1)
    block = (
        torch.from_numpy(texts.text[places])
        if moved is None
        else moved[torch.from_numpy(places).to(moved.device)]
    ).long()
    return block[:, :-1], block[:, 1:]
