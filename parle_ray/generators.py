"""Random number generators of one replica, kept apart from everybody else's in the process."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ALONE = threading.Lock()
"""Held where torch's generator is read, set or seeded. torch holds a lock of its own meanwhile, and
garbage that is collected as it makes the tensor lets other threads run: one of them that wants that
lock would keep the interpreter's, and both would wait for ever."""


class Generators:
    """The states of torch's, NumPy's and Python's global generators, installed while entered.

    Replicas that share a process (`simulate`) or a process with user code then draw the same
    numbers as replicas that have a process each.

    Args:
        *entropy: whole numbers that name the stream, such as seed and rank.
    """

    def __init__(self, *entropy: int, cuda: bool = False) -> None:
        self._cuda = cuda
        self._outside: dict[str, Any] | None = None
        outside = self._capture()
        _seed(entropy)
        self._inside = self._capture()
        self._install(outside)

    def __enter__(self) -> None:
        assert self._outside is None, "the generators are installed already"
        self._outside = self._capture()
        try:
            self._install(self._inside)
        except BaseException:  # a state that is none, half installed
            self._install(self._outside)
            self._outside = None
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._outside is not None
        self._inside = self._capture()
        self._install(self._outside)
        self._outside = None

    def state_dict(self) -> dict[str, Any]:
        """The inside states as they are now: tensors, arrays and whole numbers."""
        return self._inside if self._outside is None else self._capture()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; entered or not."""
        self._inside = state
        if self._outside is not None:
            self._install(state)

    def _capture(self) -> dict[str, Any]:
        _, keys, position, has_gauss, gauss = np.random.get_state()
        version, words, next_gauss = random.getstate()
        state: dict[str, Any] = {
            "torch": torch_state(),
            "numpy": {
                "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
                "rest": [int(position), int(has_gauss), float(gauss)],
            },
            "python": {
                "words": torch.tensor(words, dtype=torch.int64),
                "rest": [version, next_gauss],
            },
        }
        if self._cuda:
            state["cuda"] = torch.cuda.get_rng_state()
        return state

    def _install(self, state: dict[str, Any]) -> None:
        set_torch_state(state["torch"])
        numpy_state, python_state = state["numpy"], state["python"]
        keys = numpy_state["keys"].numpy().astype(np.uint32)
        if not 0 <= numpy_state["rest"][0] <= len(keys):  # NumPy would read beside its memory
            raise ValueError(f"NumPy's generator cannot stand at {numpy_state['rest'][0]}")
        np.random.set_state(("MT19937", keys, *numpy_state["rest"]))
        version, next_gauss = python_state["rest"]
        random.setstate((version, tuple(python_state["words"].tolist()), next_gauss))
        if self._cuda and "cuda" in state:  # not so if it was saved by a replica on a CPU
            torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def reseeded(*entropy: int, cuda: bool = False) -> Iterator[None]:
    """Within it all draw as `Generators(*entropy)` would; afterwards they go on where they were.

    It costs a third of making and entering one, for what is done in every step.
    """
    before = torch_state(), np.random.get_state(), random.getstate()
    before_cuda = torch.cuda.get_rng_state() if cuda else None
    _seed(entropy)
    try:
        yield
    finally:
        set_torch_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
        if before_cuda is not None:
            torch.cuda.set_rng_state(before_cuda)


def torch_state() -> Tensor:
    """Of torch's generator on the CPU; threads may ask at once."""
    with _ALONE:
        return torch.get_rng_state()


def set_torch_state(state: Tensor) -> None:
    """The same, set."""
    with _ALONE:
        torch.set_rng_state(state)


def _seed(entropy: Sequence[int]) -> None:
    """Seed torch's, NumPy's and Python's generators by whole numbers."""
    torch_seed, numpy_seed, python_seed = (
        int(word)
        # The length goes in too: SeedSequence takes (5,) and (5, 0, 0) for the same.
        for word in np.random.SeedSequence((len(entropy), *entropy)).generate_state(3)
    )
    with _ALONE:
        torch.manual_seed(torch_seed)
    np.random.seed(numpy_seed)
    random.seed(python_seed)
