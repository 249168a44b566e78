"""The measures of flatness, against functions whose Hessian is known, and the command on runs."""

import math

import pytest
import torch
from torch import Tensor, nn

from parle_ray.data.scores import loss_and_error
from parle_ray.flat import FlatModule
from parle_ray.flatness import (
    Ensemble,
    Estimate,
    Landscape,
    distances,
    filter_normalised,
    overlaps,
    rise,
    smoothed,
    top_eigenvalue,
    trace,
)

EIGENVALUES = torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.25, 0.1], dtype=torch.float64)


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_eigenvalues(values: Tensor) -> Tensor:
    """A symmetric matrix that is not diagonal."""
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=drawn()).double())
    return basis @ values.diag() @ basis.T


class Vector(nn.Module):
    """x in R^7, float64, as a matrix of three filters and one bias."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.arange(1.0, 7.0, dtype=torch.float64).view(3, 2))
        self.bias = nn.Parameter(torch.tensor([0.5], dtype=torch.float64))

    def forward(self) -> Tensor:
        return torch.cat([self.filters.flatten(), self.bias])


def quadratic(hessian: Tensor) -> Landscape:
    """`f(x) = x H x / 2 + sum(x)`, which has a slope too."""

    def scores(module: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        x = module()
        return x @ hessian @ x / 2 + x.sum(), torch.zeros(())

    return Landscape(FlatModule(Vector()), scores, [torch.zeros(1)])


HESSIAN = with_eigenvalues(EIGENVALUES)
X = FlatModule(Vector()).vector.clone()


def test_a_product_with_the_hessian_is_that_with_the_matrix() -> None:
    v = torch.randn(7, generator=drawn(1)).double()
    torch.testing.assert_close(quadratic(HESSIAN).hessian_times(X, v), HESSIAN @ v)


def test_examples_count_alike_in_batches_of_any_size_and_nothing_is_random() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    torch.manual_seed(0)
    flat, x, y = FlatModule(Net()), torch.randn(10, 3), torch.arange(10) % 2
    v = torch.randn(flat.vector.shape, generator=drawn())
    found = []
    for sizes in ([10], [7, 3]):
        batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
        landscape = Landscape(flat, loss_and_error, batches)
        here = flat.vector.clone()
        found.append((landscape.at(here), landscape.hessian_times(here, v)))
    assert found[0][0].loss == pytest.approx(found[1][0].loss)
    assert found[0][0].error == pytest.approx(found[1][0].error)
    torch.testing.assert_close(found[0][1], found[1][1])


def test_fused_attention_has_its_second_derivative() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, batch_first=True).double()
    flat, x = FlatModule(attention), torch.randn(2, 5, 4).double()

    def scores(module: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        out = module(batch, batch, batch, need_weights=False)[0]
        return out.square().sum(), torch.zeros(())

    def gradient(at: Tensor) -> Tensor:
        flat.vector.copy_(at)
        return torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(scores(attention, x)[0], flat.parameters)]
        )

    here, v = flat.vector.clone(), torch.randn(flat.vector.shape, generator=drawn()).double()
    differences = (gradient(here + 1e-5 * v) - gradient(here - 1e-5 * v)) / 2e-5
    product = Landscape(flat, scores, [x]).hessian_times(here, v)
    torch.testing.assert_close(product, differences, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("values", [EIGENVALUES, EIGENVALUES - 3.0, -EIGENVALUES])
def test_power_iteration_finds_the_largest_eigenvalue_also_below_larger_negative_ones(
    values: Tensor,
) -> None:
    times = quadratic(with_eigenvalues(values)).hessian_times
    start = torch.randn(7, generator=drawn(1)).double()
    found = top_eigenvalue(lambda v: times(X, v), start, iterations=200, tolerance=2e-3)
    assert found.value == pytest.approx(values.max().item(), abs=2 * found.residual + 1e-9)
    assert found.residual < 0.02
    assert found.products < 400


def test_power_iteration_says_when_it_was_cut_short() -> None:
    found = top_eigenvalue(HESSIAN.mv, torch.ones(7).double(), iterations=2)
    assert found.products == 2
    assert found.residual > 0.01 * found.value


def test_the_trace_is_exact_for_a_diagonal_and_near_for_any_matrix() -> None:
    exact = trace(EIGENVALUES.diag().mv, X, 2, drawn())
    assert (exact.mean, exact.std) == pytest.approx((EIGENVALUES.sum().item(), 0.0))
    near = trace(HESSIAN.mv, X, 400, drawn())
    assert near.std > 0.1
    assert near.mean == pytest.approx(EIGENVALUES.sum().item(), abs=4 * near.std / 20)


def test_the_rise_on_a_quadratic_is_half_the_bend_whatever_the_slope() -> None:
    landscape = quadratic(HESSIAN)
    directions = [torch.randn(7, generator=drawn(i)).double() for i in range(3)]
    near, far = rise(landscape, X, directions, [0.1, 0.3])
    bends = [(d @ HESSIAN @ d / 2).item() for d in directions]
    assert near.loss.mean == pytest.approx(0.01 * sum(bends) / 3)
    assert near.loss.std == pytest.approx(0.01 * torch.tensor(bends).std().item())
    assert far.loss.mean == pytest.approx(9 * near.loss.mean)


def test_a_smoothed_quadratic_is_higher_by_half_gamma_times_the_trace() -> None:
    landscape, gamma = quadratic(HESSIAN), 0.01
    found = smoothed(landscape, X, gamma, 100, drawn())
    risen = found.loss.mean - landscape.at(X).loss
    trace_of = EIGENVALUES.sum().item()
    assert risen == pytest.approx(gamma / 2 * trace_of, abs=4 * found.loss.std / 10)


def test_the_local_entropy_of_a_quadratic_is_half_a_log_determinant() -> None:
    def scores(module: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        x = module()
        return x @ HESSIAN @ x / 2, torch.zeros(())

    landscape = Landscape(FlatModule(Vector()), scores, [torch.zeros(1)])
    found = smoothed(landscape, torch.zeros_like(X), 0.1, 500, drawn())
    known = 0.5 * torch.log1p(0.1 * EIGENVALUES).sum().item()
    assert found.local_entropy == pytest.approx(known, rel=0.05)
    assert found.local_entropy < found.loss.mean


def test_a_direction_is_as_long_as_the_weights_filter_by_filter_and_leaves_biases() -> None:
    flat = FlatModule(Vector())
    filters, bias = flat.split(filter_normalised(flat, X, drawn()))
    torch.testing.assert_close(filters.norm(dim=1), flat.module.filters.detach().norm(dim=1))
    assert bias.item() == 0.0


def test_scaling_layers_that_cancel_changes_nothing_along_normalised_directions() -> None:
    """A ReLU network with its first layer times 4 and its second by 4 computes the same."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False))
    batch = (torch.randn(9, 3), torch.arange(9) % 2)
    found, plain = [], []
    for factor in (1.0, 4.0):
        flat = FlatModule(net)
        first, second = flat.parameters
        with torch.no_grad():
            first.mul_(factor)
            second.div_(factor)
        landscape, x = Landscape(flat, loss_and_error, [batch]), flat.vector.clone()
        direction = filter_normalised(flat, x, drawn())
        found.append(rise(landscape, x, [direction], [0.5]))
        plain.append(rise(landscape, x, [torch.randn(x.shape, generator=drawn())], [0.5]))
        flat.vector.copy_(x)
    assert found[0] == found[1]
    assert plain[0] != plain[1]


def test_an_estimate_has_mean_and_spread_and_says_what_is_not_finite() -> None:
    assert Estimate.of([1.0, 3.0]) == Estimate(2.0, math.sqrt(2.0), 2)
    assert Estimate.of([2.0]) == Estimate(2.0, 0.0, 1)
    assert Estimate.of([1.0, math.inf]).mean == math.inf


def test_distances_and_overlaps_are_those_of_the_plane() -> None:
    east, north = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    assert distances([east, north], east) == pytest.approx([0.0, math.sqrt(5) / 2])
    assert overlaps([east, north, -3 * east]) == pytest.approx([0.0, -1.0, 0.0])
    assert overlaps([east]) == []


def test_an_ensemble_says_the_mean_of_the_probabilities() -> None:
    torch.manual_seed(0)
    members = [nn.Linear(3, 4) for _ in range(3)]
    x = torch.randn(2, 5, 3)
    mean = torch.stack([member(x).softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members)(x).exp(), mean)
