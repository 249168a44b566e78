"""A text as bytes, cut into examples: each byte is the label of those before it."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from parle_ray.data.windows import check_held_out
from parle_ray.errors import InputError

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
