"""A chain is held by its anchor, whichever optimiser takes its steps."""

import math

import pytest
import torch
from torch.optim import Optimizer

from parle_ray.strategies.chain import scale_free, step_near_

DIVIDE = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop"]


def chain(gradient: float) -> tuple[torch.nn.Parameter, torch.Tensor]:
    """Five values, half a unit from their anchors."""
    x = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)
    y = torch.nn.Parameter(x + 0.5)
    y.grad = torch.full_like(x, gradient)
    return y, x


@pytest.mark.parametrize("name", DIVIDE)
def test_beside_an_optimiser_that_divides_the_pull_is_as_long_as_the_equation_says(
    name: str,
) -> None:
    y, x = chain(gradient=0.0)
    inner = getattr(torch.optim, name)([y], lr=0.1)
    assert scale_free(inner)
    inner.param_groups[0]["weight_decay"] = 0.0  # of which AdamW has some, if nothing is said
    with torch.no_grad():
        step_near_(y, x, 2.0, inner)
    torch.testing.assert_close(y.detach(), x + 0.5 - 0.1 / 2.0 * 0.5)


@pytest.mark.parametrize("name", DIVIDE)
def test_torchs_optimisers_make_the_same_steps_of_a_gradient_twice_as_large(name: str) -> None:
    """What `scale_free` tells by the settings, told by the steps."""
    lasts = []
    for gradient in (1.0, 2.0):
        y, _ = chain(gradient)
        inner = getattr(torch.optim, name)([y], lr=0.1)
        for _ in range(20):  # RAdam's first five are not
            before = y.detach().clone()
            inner.step()
        lasts.append(y.detach() - before)
    torch.testing.assert_close(lasts[0], lasts[1], rtol=0.01, atol=0.0)


def test_sgd_has_the_pull_in_its_gradient() -> None:
    y, x = chain(gradient=0.0)
    inner = torch.optim.SGD([y], lr=0.1)
    assert not scale_free(inner)
    with torch.no_grad():
        step_near_(y, x, 2.0, inner)
    assert y.grad is not None
    torch.testing.assert_close(y.grad, torch.full_like(x, 0.25))
    torch.testing.assert_close(y.detach(), x + 0.5 - 0.1 * 0.25)


@pytest.mark.parametrize("inner_class", [torch.optim.SGD, torch.optim.AdamW])
def test_a_free_chain_is_the_optimiser_alone(inner_class: type[Optimizer]) -> None:
    (y, x), (alone, _) = chain(1.0), chain(1.0)
    with torch.no_grad():
        step_near_(y, x, math.inf, inner_class([y], lr=0.1))
    inner_class([alone], lr=0.1).step()
    assert torch.equal(y, alone)
