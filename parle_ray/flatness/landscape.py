"""The loss of a module as a function of its parameter vector, on batches that stay the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from parle_ray.errors import InputError
from parle_ray.execution import num_samples
from parle_ray.flat import FlatModule
from parle_ray.spread import is_spread

ScoresFn = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]
"""(module, batch) -> loss and error, each a scalar, the mean over the batch."""


@dataclass(frozen=True)
class Score:
    """Loss and error over all batches, an example counting once."""

    loss: float
    error: float


class Landscape:
    """f(x), the mean loss over fixed batches, in evaluation mode.

    Dropout is off, and batch norm uses the statistics that the module has, wherever x is: f is a
    function of the parameters alone. Weight decay is no part of it.

    Args:
        flat: the module; its vector is moved, and stays where it was moved to last.
        scores_fn: loss and error of a batch.
        batches: on the module's device, looked at again and again.
    """

    def __init__(self, flat: FlatModule, scores_fn: ScoresFn, batches: Sequence[Any]) -> None:
        if is_spread(flat.module):
            raise InputError(
                "flatness: the model's layers are on several devices, through which no second "
                "derivative is taken; have model_fn put them on one"
            )
        flat.module.eval()
        self.flat = flat
        self._scores_fn = scores_fn
        sizes = [num_samples(batch) for batch in batches]
        self._weighted = [(batch, n / sum(sizes)) for batch, n in zip(batches, sizes, strict=True)]

    def at(self, x: Tensor) -> Score:
        """f and the error at x, `(num_params,)`."""
        self.flat.vector.copy_(x)
        loss = error = 0.0
        with torch.no_grad():
            for batch, share in self._weighted:
                told = self._scores_fn(self.flat.module, batch)
                loss += share * told[0].item()
                error += share * told[1].item()
        return Score(loss, error)

    def hessian_times(self, x: Tensor, v: Tensor) -> Tensor:
        """H v, `(num_params,)`, H the Hessian of f at x: the gradient of `<grad f, v>`.

        Two passes back, whatever num_params (Pearlmutter, Neural Computation 6, 1994).
        """
        self.flat.vector.copy_(x)
        product = torch.zeros_like(x)
        for batch, share in self._weighted:
            with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
                loss, _ = self._scores_fn(self.flat.module, batch)
                slopes = self._gradients(loss, create_graph=True)
                along = [(slope * d).sum() for slope, d in zip(slopes, self._split(v), strict=True)]
                bends = self._gradients(torch.stack(along).sum())
            product.add_(torch.cat([bend.reshape(-1) for bend in bends]), alpha=share)
        return product

    def _split(self, v: Tensor) -> list[Tensor]:
        return list(self.flat.split(v))

    def _gradients(self, of: Tensor, *, create_graph: bool = False) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            of, self.flat.parameters, create_graph=create_graph, materialize_grads=True
        )
