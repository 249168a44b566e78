"""A module is one vector, and notices when somebody takes it apart."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.flat import FlatModule

SHAPES = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=5)


class Tied(nn.Module):
    """An encoder and a decoder that share one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).tanh())


def backward(module: nn.Module, x: Tensor) -> None:
    module(x).square().sum().backward()


@given(shapes=SHAPES, seed=st.integers(0, 99))
def test_vector_and_module_are_the_same_memory(shapes: list[tuple[int, ...]], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(shape, generator=random) for shape in shapes]
    module = nn.ParameterList([nn.Parameter(tensor.clone()) for tensor in tensors])
    flat = FlatModule(module)
    assert torch.equal(flat.vector, torch.cat([tensor.reshape(-1) for tensor in tensors]))
    assert flat.vector.is_contiguous()
    flat.check_views()

    flat.vector.mul_(2.0)
    for p, tensor in zip(module, tensors, strict=True):
        assert p.shape == tensor.shape
        assert torch.equal(p, 2.0 * tensor)
    for i, p in enumerate(module):
        p.data.fill_(float(i))
        p.grad.fill_(-float(i))
    assert torch.equal(flat.gradient, -flat.vector)


def test_gradients_and_outputs_are_those_of_the_module_before() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    module(x)
    plain = copy.deepcopy(module)
    flat = FlatModule(module)
    assert torch.equal(module(x), plain(x))
    backward(module, x)
    backward(plain, x)
    flat.check_views()
    expected = torch.cat([p.grad.reshape(-1) for p in plain.parameters()])
    assert torch.equal(flat.gradient, expected)
    backward(module, x)
    assert torch.equal(flat.gradient, 2.0 * expected)


def test_an_optimiser_on_the_parameters_moves_the_vector() -> None:
    module = nn.Linear(3, 2)
    flat = FlatModule(module)
    before = flat.vector.clone()
    backward(module, torch.ones(1, 3))
    torch.optim.SGD(flat.parameters, lr=0.5).step()
    assert torch.equal(flat.vector, before - 0.5 * flat.gradient)


def test_a_tied_parameter_is_there_once_and_stays_tied() -> None:
    module = Tied()
    flat = FlatModule(module)
    assert flat.vector.numel() == 16 + 4 + 4
    assert flat.names == ["encoder.weight", "encoder.bias", "decoder.bias"]
    backward(module, torch.ones(1, 4))
    flat.check_views()
    flat.vector.zero_()
    assert module.decoder.weight.count_nonzero() == 0


def test_frozen_parameters_and_buffers_stay_where_they_are() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    module[0].requires_grad_(False)
    frozen, statistics = module[0].weight.data_ptr(), module[1].running_mean.data_ptr()
    flat = FlatModule(module)
    assert flat.vector.numel() == 3 + 3 + 3 + 1
    assert module[0].weight.data_ptr() == frozen
    assert module[1].running_mean.data_ptr() == statistics
    assert module[0].weight.grad is None
    backward(module, torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    flat.check_views()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_vector_has_the_dtype_of_the_module(dtype: torch.dtype) -> None:
    module = nn.Linear(3, 2).to(dtype)
    flat = FlatModule(module)
    assert flat.vector.dtype == flat.gradient.dtype == dtype
    backward(module, torch.ones(1, 3, dtype=dtype))
    flat.check_views()


def test_a_channels_last_module_keeps_its_values() -> None:
    module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    weight = module.weight.detach().clone()
    flat = FlatModule(module)
    assert torch.equal(module.weight, weight)
    backward(module, torch.ones(1, 3, 4, 4).contiguous(memory_format=torch.channels_last))
    flat.check_views()


def mixed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())


def half_elsewhere() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))


@pytest.mark.parametrize(
    ("model_fn", "said"),
    [
        (nn.ReLU, ["ReLU", "no trainable parameter", "requires_grad"]),
        (lambda: nn.Linear(2, 2).requires_grad_(False), ["Linear", "no trainable parameter"]),
        (mixed, ["more than one dtype", "torch.float32, torch.float64", ".to("]),
        (half_elsewhere, ["more than one device", "cpu, meta"]),
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), ["'weight'", "torch.complex64"]),
        (lambda: nn.LazyLinear(2), ["'weight'", "lazy", "model_fn"]),
    ],
)
def test_a_module_that_is_no_vector_is_refused(
    model_fn: Callable[[], nn.Module], said: list[str]
) -> None:
    with pytest.raises(InputError) as refusal:
        FlatModule(model_fn())
    assert all(words in str(refusal.value) for words in said)


def set_to_none(module: nn.Module) -> None:
    module.zero_grad(set_to_none=True)


def new_gradient(module: nn.Module) -> None:
    set_to_none(module)
    backward(module, torch.ones(1, 2))


def half(module: nn.Module) -> None:
    module.half()


def assigned(module: nn.Module) -> None:
    module.load_state_dict(nn.Linear(2, 2).state_dict(), assign=True)


def flattened_again(module: nn.Module) -> None:
    FlatModule(module)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (set_to_none, ["the gradient of 'weight'", "set_to_none=False"]),
        (new_gradient, ["the gradient of 'weight'", "set_to_none=False"]),
        (half, ["the parameter 'weight'", ".half()", "model_fn"]),
        (flattened_again, ["the parameter 'weight'", "a new module at every call"]),
    ],
)
def test_a_module_taken_apart_is_noticed(
    mistake: Callable[[nn.Module], None], said: list[str]
) -> None:
    module = nn.Linear(2, 2)
    flat = FlatModule(module)
    backward(module, torch.ones(1, 2))
    flat.check_views()
    mistake(module)
    with pytest.raises(InputError) as refusal:
        flat.check_views()
    assert all(words in str(refusal.value) for words in said)


def test_a_new_parameter_in_the_place_of_an_old_one_is_noticed() -> None:
    module = nn.Linear(2, 2)
    flat = FlatModule(module)
    assigned(module)
    assert not any(p is q for p in module.parameters() for q in flat.parameters)
    with pytest.raises(InputError, match="'weight'"):
        flat.check_views()


def test_a_state_dict_loads_into_the_vector() -> None:
    module, other = nn.Linear(2, 2), nn.Linear(2, 2)
    flat = FlatModule(module)
    module.load_state_dict(other.state_dict())
    flat.check_views()
    assert torch.equal(flat.vector, nn.utils.parameters_to_vector(other.parameters()))
