"""Largest eigenvalue and trace of a matrix that is known by its products alone: a Hessian."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from parle_ray.flatness.estimate import Estimate

Times = Callable[[Tensor], Tensor]
"""v -> H v, H symmetric, both `(num_params,)`."""


@dataclass(frozen=True)
class Eigenvalue:
    """An eigenvalue as far as it is known.

    Attributes:
        value: the Rayleigh quotient `<v, H v>`, `||v|| = 1`.
        residual: `||H v - value v||`: an eigenvalue of H is no farther from `value` than this.
        products: with H, that were made.
    """

    value: float
    residual: float
    products: int


def top_eigenvalue(
    times: Times, start: Tensor, *, iterations: int = 100, tolerance: float = 0.01
) -> Eigenvalue:
    """The largest eigenvalue of H, by power iteration.

        v <- H v / ||H v||

    That finds the eigenvalue of largest size. If it is negative, H minus it has none below zero
    and the largest of H on top, and is iterated again.

    Source: Golub and Van Loan, Matrix Computations, 4th edition, section 8.2.1; for Hessians of
    networks Yao et al., arXiv 1912.07145.

    Args:
        times: the product.
        start: any vector that is not orthogonal to the eigenvector, such as a random one.
        iterations: at most so many products, and as many again after a negative one.
        tolerance: done when the residual is at most this part of the value.
    """
    found = _dominant(times, start, iterations, tolerance)
    if found.value >= 0.0:
        return found
    lowest = found.value
    shifted = _dominant(lambda v: times(v) - lowest * v, start, iterations, tolerance)
    return Eigenvalue(shifted.value + lowest, shifted.residual, found.products + shifted.products)


def trace(times: Times, like: Tensor, probes: int, generator: Generator) -> Estimate:
    """The trace of H, by Hutchinson's estimator.

        tr H = E <v, H v>,   the elements of v independent, 1 or -1

    Source: Hutchinson, Communications in Statistics 18 (1989).

    Args:
        times: the product.
        like: a vector of the size, dtype and device.
        probes: products with H; the estimate's `std` falls as `std / sqrt(probes)`.
        generator: of the v.
    """
    draws = []
    for _ in range(probes):
        signs = torch.randint(0, 2, like.shape, generator=generator)
        v = (2 * signs - 1).to(like)
        draws.append(v.dot(times(v)).item())
    return Estimate.of(draws)


def _dominant(times: Times, v: Tensor, iterations: int, tolerance: float) -> Eigenvalue:
    """The eigenvalue of largest size."""
    product, products, done = v, 0, False
    while not done:
        v = product / product.norm()
        product, products = times(v), products + 1
        value = v.dot(product).item()
        residual = (product - value * v).norm().item()
        done = residual <= tolerance * abs(value) or products == iterations
    return Eigenvalue(value, residual, products)
