"""Batches of a text for one replica: shuffled, resumable to the bit, on its device."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parle_ray.data.passes import Batch, Passes
from parle_ray.data.text_set import DIGITS, TextSet
from parle_ray.data.windows import window
from parle_ray.errors import InputError, printable


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
        return take(self._texts, self._starts[places], self._moved)


def text_batches(texts: TextSet, batch_size: int) -> Iterator[Batch]:
    """The whole set once in its order, for evaluation; the last batch may be short."""
    for begin in range(0, len(texts), batch_size):
        yield take(texts, texts.starts[begin : begin + batch_size])


def take(texts: TextSet, starts: NDArray[np.int64], moved: Tensor | None = None) -> Batch:
    """The examples that start there.

    Args:
        texts: the set.
        starts: int64, shape (B,).
        moved: the text's bytes on an accelerator, from which to take them; None takes the host's.
    """
    places = starts[:, None] + np.arange(texts.context + 1)
    block = (
        torch.from_numpy(texts.text[places])
        if moved is None
        else moved[torch.from_numpy(places).to(moved.device)]
    ).long()
    return block[:, :-1], block[:, 1:]
