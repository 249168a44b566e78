"""Local entropy, and the loss smoothed by a Gaussian: what Parle minimises in place of the loss."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from parle_ray.flatness.estimate import Estimate
from parle_ray.flatness.landscape import Landscape


@dataclass(frozen=True)
class Smoothed:
    """The loss around x, at one scale.

    Attributes:
        gamma: variance of the noise on each parameter.
        loss: `E f(x + sqrt(gamma) xi)`; each draw is the mean of two, xi and -xi.
        error: the same of the error.
        local_entropy: f_gamma(x), at most `E f`.
    """

    gamma: float
    loss: Estimate
    error: Estimate
    local_entropy: float


def smoothed(
    landscape: Landscape, x: Tensor, gamma: float, pairs: int, generator: Generator
) -> Smoothed:
    """The smoothed loss and the local entropy at x, from the same draws.

        E f(x + sqrt(gamma) xi)  =  f(x) + (gamma/2) tr H + O(gamma^2)
        f_gamma(x)  =  -log (G_gamma * e^-f)(x)  =  -log E exp(-f(x + sqrt(gamma) xi))

    xi is a standard normal vector, G_gamma the Gaussian of variance gamma. The second line is the
    local entropy of Parle's paper (arXiv 1707.00424, section 2) at beta = 1, with the mean loss as
    f. It is taken here by plain Monte Carlo, not by the Langevin chain of the paper: that estimates
    its gradient `(x - <y>)/gamma`, and not its value.

    Neither is free of scale: of two networks that compute the same, the one with longer weights is
    the flatter here. Compare solutions of one length, or take filter-normalised directions.

    Args:
        landscape: f.
        x: `(num_params,)`.
        gamma: >= 0. The paper's falls to 1, noise larger than most weights: f is then chance.
        pairs: of draws, xi and -xi.
        generator: of the xi.
    """
    losses, errors, all_losses = [], [], []
    for _ in range(pairs):
        xi = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        ends = [landscape.at(x + sign * math.sqrt(gamma) * xi) for sign in (1.0, -1.0)]
        all_losses += [end.loss for end in ends]
        losses.append(sum(end.loss for end in ends) / 2.0)
        errors.append(sum(end.error for end in ends) / 2.0)
    entropy = math.log(len(all_losses)) - float(torch.tensor(all_losses).neg().logsumexp(0))
    return Smoothed(gamma, Estimate.of(losses), Estimate.of(errors), entropy)
