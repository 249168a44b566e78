"""What the automatic degree of Splash finds, beside the best fixed degree found by hand."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from parle_ray import simulate
from parle_ray.errors import Diverged
from parle_ray.simulate import Outcome
from parle_ray.strategies import AutoSplash, LocalSGD, Strategy

REPLICAS, SYNC_EVERY = 16, 2


@dataclass(frozen=True)
class Problem:
    """A loss, and 128 examples of it.

    Attributes:
        examples: `(examples, width)`, dealt out to the replicas.
        start: `(num_params,)`.
        losses: of vectors `(vectors, num_params)` and examples, `(vectors, examples)`.
    """

    examples: Tensor
    start: Tensor
    losses: Callable[[Tensor, Tensor], Tensor]

    def train(self, strategy: Strategy, rates: list[float]) -> tuple[list[float], Outcome]:
        """As many runs side by side as there are learning rates; their losses at the end."""

        def model_fn() -> nn.Module:
            module = nn.Module()
            module.w = nn.Parameter(self.start.repeat(len(rates), 1))
            return module

        lr = torch.tensor(rates, dtype=torch.float64)
        outcome = simulate(
            model_fn,
            lambda module, some: (lr * self.losses(module.w, some).mean(1)).sum(),
            lambda rank, n: list(self.examples[rank::n].split(4)),
            strategy=strategy,
            inner_optimizer_fn=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
            num_replicas=REPLICAS,
            num_rounds=40,
        )
        model = outcome.model.view(len(rates), -1)
        return self.losses(model, self.examples).mean(1).tolist(), outcome

    def by_hand(self, lr: float, degrees: list[float]) -> dict[float, float]:
        """The loss that each degree ends with: with plain SGD it is a factor of the rate."""
        local = LocalSGD(sync_every=SYNC_EVERY)
        try:
            losses, _ = self.train(local, [degree * lr for degree in degrees])
            return dict(zip(degrees, losses, strict=True))
        except Diverged:
            return self.by_hand(lr, degrees[:-1]) | {degrees[-1]: math.inf}


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logistic() -> Problem:
    """Labels of either sign, of which a linear map knows the most; and a penalty."""
    rows = randn(128, 8, seed=0)
    labels = (rows @ randn(8, seed=1) + 2.0 * randn(128, seed=2)).sign()

    def losses(w: Tensor, some: Tensor) -> Tensor:
        penalty = 0.01 * w.square().sum(1, keepdim=True)
        return softplus(-some[:, 8] * (w @ some[:, :8].T)) + penalty

    examples = torch.cat([rows, labels.unsqueeze(1)], 1)
    return Problem(examples, torch.zeros(8, dtype=torch.float64), losses)


def factorisation() -> Problem:
    """Two thirds of a noisy table of rank 2; both its factors are the parameters."""
    high, wide, rank = 16, 12, 2
    noise = 0.3 * randn(high, wide, seed=2)
    table = randn(high, rank, seed=0) @ randn(rank, wide, seed=1) + noise
    known = torch.randperm(high * wide, generator=torch.Generator().manual_seed(3))[:128]
    rows, columns = known // wide, known % wide

    def losses(w: Tensor, some: Tensor) -> Tensor:
        factors = w.view(len(w), high + wide, rank)
        own, other = factors[:, some[:, 0].long()], factors[:, high + some[:, 1].long()]
        return ((own * other).sum(2) - some[:, 2]).square() / 2.0

    examples = torch.stack([rows.double(), columns.double(), table[rows, columns]], 1)
    return Problem(examples, 0.5 * randn((high + wide) * rank, seed=4), losses)


CASES = {
    "logistic regression, low degrees are best": (logistic(), 0.8, 1.0, 1.01),
    "matrix factorisation, the highest is best": (factorisation(), 0.08, 16.0, 1.2),
    "matrix factorisation, the highest diverges": (factorisation(), 0.4, 4.0, 1.2),
}


@pytest.mark.parametrize(("problem", "lr", "best", "factor"), CASES.values(), ids=CASES.keys())
def test_it_comes_to_the_loss_of_the_best_degree_found_by_hand_within_a_factor(
    problem: Problem, lr: float, best: float, factor: float
) -> None:
    fixed = problem.by_hand(lr, [1.0, 2.0, 4.0, 8.0, 16.0])
    (found,), outcome = problem.train(AutoSplash(sync_every=SYNC_EVERY), [lr])
    assert min(fixed, key=lambda degree: fixed[degree]) == best
    assert found < factor * fixed[best] < max(fixed.values()) / 1.2
    assert {report["degree"] for report in outcome.history} >= {1.0, 4.0, 16.0}
    assert outcome.history[-1]["faults"] == 0
