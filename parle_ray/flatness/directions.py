"""The loss along random directions, filter by filter as long as the weights (arXiv 1712.09913)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from parle_ray.flat import FlatModule
from parle_ray.flatness.estimate import Estimate
from parle_ray.flatness.landscape import Landscape


@dataclass(frozen=True)
class Rise:
    """What a walk of some length from x costs, over the directions.

    Attributes:
        radius: r, of the length of each filter.
        loss: `(f(x + r d) + f(x - r d))/2 - f(x)`.
        error: the same of the error.
    """

    radius: float
    loss: Estimate
    error: Estimate


def filter_normalised(flat: FlatModule, x: Tensor, generator: Generator) -> Tensor:
    """A random direction d, `(num_params,)`, whose filters are as long as those of x.

        d_ij  <-  d_ij ||x_ij|| / ||d_ij||,   d Gaussian;  i: layer, j: filter

    A filter is what makes one output: a slice of a parameter's first dimension. Parameters of one
    dimension or none, biases and those of norms, stay where they are, as in the authors' code.
    Where weights may be scaled without changing the function, as between layers with ReLU, the
    loss along d does not change either: solutions can be compared.

    Source: Li et al., arXiv 1712.09913, section 4.
    """
    d = torch.zeros_like(x)
    for mine, weights in zip(flat.split(d), flat.split(x), strict=True):
        if weights.dim() < 2:
            continue
        drawn = torch.randn(weights.shape, generator=generator, dtype=x.dtype).to(x.device)
        filters, own = drawn.flatten(1), weights.flatten(1)
        lengths = own.norm(dim=1, keepdim=True) / filters.norm(dim=1, keepdim=True)
        mine.copy_((filters * lengths).view(weights.shape))
    return d


def rise(
    landscape: Landscape, x: Tensor, directions: Sequence[Tensor], radii: Sequence[float]
) -> list[Rise]:
    """How loss and error rise around x, for each radius, with the spread over the directions.

    Both ways along each direction, so that the slope at x cancels and the bend is left.
    """
    here = landscape.at(x)
    found = []
    for radius in radii:
        losses, errors = [], []
        for d in directions:
            ends = [landscape.at(x + sign * radius * d) for sign in (1.0, -1.0)]
            losses.append(sum(end.loss for end in ends) / 2.0 - here.loss)
            errors.append(sum(end.error for end in ends) / 2.0 - here.error)
        found.append(Rise(radius, Estimate.of(losses), Estimate.of(errors)))
    return found
