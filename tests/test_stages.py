"""Modules cut between their layers."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.flat import FlatModule
from parle_ray.models.all_cnn import AllCNN
from parle_ray.models.byte_lm import ByteLM
from parle_ray.models.lenet import LeNet
from parle_ray.models.mlp import MLP
from parle_ray.models.small_cnn import SmallCNN
from parle_ray.models.wide_resnet import WideResNet
from parle_ray.team.stages import Stage, layers_of, stages

IMAGES = (3, 24, 24)


@pytest.mark.parametrize(
    "make",
    [
        partial(LeNet, 10, IMAGES, dropout=0.0),
        partial(AllCNN, 10, IMAGES, input_dropout=0.0, dropout=0.0),
        partial(WideResNet, 10, IMAGES, depth=10, width=1),
        partial(MLP, 10, IMAGES),
        partial(SmallCNN, 10, IMAGES, dropout=0.0),
    ],
    ids=["lenet", "all_cnn", "wide_resnet", "mlp", "small_cnn"],
)
def test_our_models_for_images_can_be_cut_and_their_stages_are_the_whole(
    make: partial[nn.Module],
) -> None:
    torch.manual_seed(0)
    module = make()
    start = FlatModule(module).vector.clone()
    x = torch.randn(4, *IMAGES)
    y = module(x)
    parts = []
    for index in range(2):
        torch.manual_seed(0)
        whole = FlatModule(make())
        layers, shares = stages(whole, 2)
        stage = Stage(whole, layers[index], shares[index], torch.device("cpu"))
        assert torch.equal(stage.vector, shares[index].of(start))
        assert [p.shape for p in stage.optimised] == [p.shape for p in module.parameters()]
        assert set(stage.names) <= {name for name, _ in module.named_parameters()}
        x = stage.module(x)
        parts += stage.names
    assert torch.equal(x, y)
    assert parts == [name for name, _ in module.named_parameters()]


def sizes(module: nn.Module, size: int) -> list[int]:
    return [len(share) for share in stages(FlatModule(module), size)[1]]


def test_processes_get_about_as_many_parameters_each() -> None:
    layers = [nn.ReLU(), nn.Linear(9, 9), nn.Linear(9, 1), nn.ReLU(), nn.Linear(1, 9)]
    net = nn.Sequential(*layers, nn.Linear(9, 9), nn.Flatten())
    assert stages(FlatModule(net), 2)[0] == [["0", "1", "2", "3"], ["4", "5", "6"]]
    assert sizes(net, 2) == [100, 108]
    assert sizes(net, 4) == [90, 10, 18, 90]


class Sum(nn.Module):
    """Does something of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Flips(Sum):
    """Something else goes in than it was given."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers([x])
        return y


class More(Sum):
    """It has a buffer outside of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class Named(nn.Sequential):
    """A list with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)
        return 2.0 * y


@pytest.mark.parametrize(
    "module",
    [Sum(), Flips(), More(), Named(nn.Linear(2, 2)), ByteLM(17, 8, width=8, heads=2)],
    ids=lambda module: type(module).__name__,
)
def test_a_module_that_does_more_is_not_cut(module: nn.Module) -> None:
    before = dict(module.named_modules())
    name = type(module).__name__
    with pytest.raises(InputError, match=f"execution.num_microbatches: {name} is not cut into"):
        layers_of(module)
    assert dict(module.named_modules()) == before


def test_too_few_layers_and_shared_parameters_are_told() -> None:
    short = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with pytest.raises(InputError, match="num_processes must be <= 2, as so many layers"):
        sizes(short, 3)
    first = nn.Linear(2, 2)
    assert sizes(nn.Sequential(first, nn.ReLU(), first, nn.Linear(2, 8)), 2) == [6, 24]
    with pytest.raises(InputError, match="Sequential that share a parameter come to be in diff"):
        sizes(nn.Sequential(first, nn.ReLU(), first), 2)
