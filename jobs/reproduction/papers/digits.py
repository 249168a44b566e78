"""scikit-learn's digits as a problem for several runs at once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jobs.reproduction.papers.side_by_side import Problem
from parle_ray.data import load

NUM_EXAMPLES = 22 * 64
"""Of 1,437, so that 64 replicas have as many each."""
PIXELS, CLASSES = 64, 10


def training_loss(
    model_fn: Callable[[int], nn.Module], rates: Sequence[float], num_seeds: int, penalty: float
) -> Problem:
    """Cross entropy of the training images, plus `penalty / 2` of the squared length.

    Args:
        model_fn: number of rates to a module of images `(seeds, 1, examples, 64)`, 0 to 1, to
            scores `(seeds, rates, examples, 10)`.
        rates: the learning rates.
        num_seeds: how many runs of each.
        penalty: of each run's parameters.
    """
    train, _ = load("digits")
    images = torch.from_numpy(train.images[:NUM_EXAMPLES].copy()).flatten(1).float() / 16.0
    labels = torch.from_numpy(train.labels[:NUM_EXAMPLES].copy())

    def losses(module: nn.Module, some: Tensor) -> Tensor:
        """some: `(seeds, examples)`."""
        scores = module(images[some].unsqueeze(1))
        wanted = labels[some].unsqueeze(1).expand(scores.shape[:3])
        each = cross_entropy(scores.flatten(0, 2), wanted.flatten(), reduction="none")
        squares = sum(p.square().sum((2, 3)) for p in module.parameters())
        return each.view(wanted.shape).mean(2) + penalty / 2.0 * squares

    everything = torch.arange(NUM_EXAMPLES).expand(num_seeds, -1)
    return Problem(
        model_fn=lambda: model_fn(len(rates)),
        loss_fn=losses,
        measure=lambda module: losses(module, everything).detach(),
        rates=torch.tensor(rates),
    )
