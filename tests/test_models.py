"""The networks: sizes as in the paper, shapes, and what `build` says to a wrong request."""

import math

import pytest
import torch
from torch import nn

from parle_ray.errors import InputError
from parle_ray.models import MODELS, build

MNIST, CIFAR, DIGITS = (1, 28, 28), (3, 32, 32), (1, 8, 8)


@pytest.mark.parametrize(
    ("name", "image_shape", "num_params"),
    [
        ("mlp", DIGITS, 64 * 128 + 128 + 128 * 10 + 10),
        ("lenet", MNIST, 132_220),
        ("all_cnn", CIFAR, 1_667_166),
        ("wrn_16_4", CIFAR, 2_748_890),
        ("wrn_28_10", CIFAR, 36_479_194),
    ],
)
def test_a_network_has_the_papers_number_of_parameters(
    name: str, image_shape: tuple[int, int, int], num_params: int
) -> None:
    model = build(name, 10, image_shape)
    assert sum(p.numel() for p in model.parameters()) == num_params


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"wrn_28_10"}))
@pytest.mark.parametrize("image_shape", [MNIST, CIFAR])
def test_a_network_makes_one_logit_a_class(name: str, image_shape: tuple[int, int, int]) -> None:
    model = build(name, 7, image_shape)
    assert model(torch.zeros(2, *image_shape)).shape == (2, 7)


@pytest.mark.parametrize("name", ["mlp", "lenet", "all_cnn"])
def test_a_network_starts_near_even_odds_and_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 10, MNIST)
    loss = nn.functional.cross_entropy(model(torch.randn(4, *MNIST)), torch.arange(4))
    torch.autograd.backward(loss)
    assert abs(loss.item() - math.log(10)) < 0.7
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_small_wide_resnet_learns_through_both_kinds_of_blocks() -> None:
    torch.manual_seed(0)
    model = build("parle_ray.models.wide_resnet:WideResNet", 4, (3, 8, 8), depth=16, width=1)
    loss = nn.functional.cross_entropy(model(torch.randn(8, 3, 8, 8)), torch.arange(8) % 4)
    torch.autograd.backward(loss)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def dropouts(model: nn.Module) -> list[float]:
    return [m.p for m in model.modules() if isinstance(m, nn.Dropout)]


def test_dropout_is_the_papers_and_can_be_set() -> None:
    assert dropouts(build("lenet", 10, MNIST)) == [0.25] * 3
    assert dropouts(build("all_cnn", 10, CIFAR)) == [0.2, 0.5, 0.5]
    assert dropouts(build("all_cnn", 10, CIFAR, dropout=0.0)) == [0.2, 0.0, 0.0]
    assert dropouts(build("wrn_16_4", 10, CIFAR)) == [0.4] * 6
    assert dropouts(build("wrn_16_4", 10, CIFAR, dropout=0.1)) == [0.1] * 6


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("lenet", {"dropuot": 0.1}, "takes no argument 'dropuot'. Did you mean 'dropout'"),
        ("lenet", {"dropout": 1.0}, "dropout must be >= 0 and < 1, got 1.0"),
        ("all_cnn", {"input_dropout": -0.1}, "input_dropout must be >= 0"),
        ("mlp", {"hidden": 0}, "hidden must be >= 1"),
        ("torch.nn:Linaer", {}, "no callable 'Linaer'. Did you mean 'Linear'"),
        ("no_such_package.nets:Net", {}, "no module 'no_such_package.nets'"),
        ("torch.nn:Linear", {"in_features": 3}, "needs the argument 'out_features'"),
        ("fractions:Fraction", {"numerator": 1}, "must make a torch.nn.Module, got Fraction"),
        ("builtins:dict", {}, "has no signature"),
        ("parle_ray.models.wide_resnet:WideResNet", {"depth": 27, "width": 1}, "depth must be 6 n"),
        (":", {}, "no module ''"),
    ],
)
def test_a_wrong_request_is_the_users_error_and_names_it(
    name: str, args: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build(name, 10, MNIST, **args)


def test_images_too_small_for_a_network_are_refused_with_the_size_it_takes() -> None:
    with pytest.raises(InputError, match="lenet takes images of 22 x 22 or larger, got 8 x 8"):
        build("lenet", 10, DIGITS)


def test_an_import_path_is_called_with_what_its_signature_has() -> None:
    model = build("torch.nn:Linear", 10, MNIST, in_features=3, out_features=4)
    assert isinstance(model, nn.Linear)
    assert isinstance(build("parle_ray.models.mlp:MLP", 10, DIGITS, hidden=5), nn.Module)


# One test imports torchvision (seconds): all that is said to its names is checked in it.
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("default")
def test_torchvisions_registry_is_reached_by_name() -> None:
    model = build("squeezenet1_1", 7, CIFAR)
    assert model.training
    assert model(torch.zeros(2, *CIFAR)).shape == (2, 7)
    with pytest.raises(InputError, match=r"got 'lenett'\. Did you mean 'lenet'"):
        build("lenett", 10, MNIST)
    with pytest.raises(InputError, match=r"got 'resnet81'\. Did you mean 'resnet1?8"):
        build("resnet81", 10, CIFAR)
    with pytest.raises(InputError, match="takes images of 3 channels, the data has 1"):
        build("squeezenet1_1", 10, MNIST)
    with pytest.raises(InputError, match="squeezenet1_1 cannot take images of shape"):
        build("squeezenet1_1", 10, (3, 8, 8))
    with pytest.raises(InputError, match="takes no argument 'drop_out'"):
        build("squeezenet1_1", 10, CIFAR, drop_out=0.1)
