"""What goes between neighbours in a pipeline: activations down, their gradients up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from parle_ray.errors import InputError
from parle_ray.generators import set_torch_state, torch_state
from parle_ray.team.among import Among
from parle_ray.team.stages import FIELD

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MOST_DIMENSIONS = 8


class Line:
    """This process's ends of the ways to the processes before it and after it.

    An activation is preceded by its form, so that no two need have the same, and by the state of
    torch's random numbers, with which the next process goes on.
    """

    def __init__(self, group: Among, device: torch.device) -> None:
        self._group, self._device = group, device
        self._before, self._after = group.index - 1, group.index + 1
        self._underway: list[Callable[[], None]] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        """For a mini-batch: at its end all that was given has been taken, unless it failed."""
        try:
            yield
            for wait in self._underway:
                wait()
        finally:
            self._underway = []

    def give(self, y: Tensor) -> None:
        """To the process after this.

        Raises:
            InputError: layers have made of it what cannot go on.
        """
        if not isinstance(y, Tensor) or y.dtype not in DTYPES or y.dim() > MOST_DIMENSIONS:
            what = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise InputError(
                f"{FIELD}: what goes from one process to the next must be one tensor of floating "
                f"point with {MOST_DIMENSIONS} dimensions or fewer, and the layers of process "
                f"{self._group.index} have made {what}; use fewer processes, or another order"
            )
        form = torch.zeros(2 + MOST_DIMENSIONS, dtype=torch.int64)
        form[: 2 + y.dim()] = torch.tensor([DTYPES.index(y.dtype), y.dim(), *y.shape])
        for tensor in (form, self._random(), y.detach()):
            self._send(tensor, self._after)

    def take(self) -> Tensor:
        """From the process before this; random numbers go on from where they were there."""
        form, random = torch.empty(2 + MOST_DIMENSIONS, dtype=torch.int64), self._random()
        self._group.receive(form, self._before)
        dtype, dimensions, *shape = form.tolist()
        self._group.receive(random, self._before)
        x = torch.empty(shape[:dimensions], dtype=DTYPES[dtype], device=self._device)
        self._group.receive(x, self._before)
        self._go_on(random)
        return x.requires_grad_()

    def give_gradient(self, x: Tensor) -> None:
        """Of what was taken."""
        self._send(torch.zeros_like(x) if x.grad is None else x.grad, self._before)

    def take_gradient(self, y: Tensor) -> Tensor:
        """Of what was given."""
        gradient = torch.empty_like(y, memory_format=torch.contiguous_format)
        self._group.receive(gradient, self._after)
        return gradient

    def _send(self, tensor: Tensor, other: int) -> None:
        self._underway.append(self._group.send(tensor.contiguous(), other))

    def _random(self) -> Tensor:
        states = [torch_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state())
        return torch.cat(states)

    def _go_on(self, random: Tensor) -> None:
        size = len(torch_state())
        set_torch_state(random[:size])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(random[size:])
