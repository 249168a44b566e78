"""A module that is no view of the vector is trained as one that is."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parle_ray.spread import SpreadModule
from parle_ray.strategies import STRATEGIES
from tests.problems import Pieces, run, sgd


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module is taken for one on several devices; there is one here."""
    monkeypatch.setattr("parle_ray.task.is_spread", lambda module: True)


@pytest.mark.parametrize("name", ["parle", "sgd", "rotation"])
def test_every_strategy_comes_to_the_same_bits(name: str, request: pytest.FixtureRequest) -> None:
    def train() -> Any:
        inner = sgd(0.05, momentum=0.9, weight_decay=0.1)
        return run(STRATEGIES[name](sync_every=2), inner_optimizer_fn=inner)

    views = train()
    request.getfixturevalue("spread")
    copies = train()
    assert torch.equal(copies.master, views.master)
    assert copies.history == views.history
    assert torch.equal(nn.utils.parameters_to_vector(copies.module.parameters()), copies.model)


class Frozen(Pieces):
    """One of its parameters does not learn, and another does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.row.requires_grad_(False)

    def forward(self, a: Tensor) -> Tensor:
        return a[:, :4] @ self.matrix.reshape(-1) + a[:, 4] * self.row


def test_what_is_frozen_stays_and_what_has_no_gradient_gets_none() -> None:
    module = Frozen()
    flat = SpreadModule(module, torch.device("cpu"))
    assert flat.names == ["matrix", "scalar"]
    start, row = flat.vector.clone(), module.row.clone()
    flat.vector.add_(1.0)
    flat.load()
    assert torch.equal(module.matrix.detach().reshape(-1), start[:4] + 1.0)
    for times in (1, 2):  # gradients add up, as they do in a view
        module(torch.ones(2, 6, dtype=torch.float64)).sum().backward()
        flat.collect()
        flat.load()
        assert flat.gradient.tolist() == [2.0 * times] * 4 + [0.0]
    assert torch.equal(module.row, row)
    flat.check_views()
