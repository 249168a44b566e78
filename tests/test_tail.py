"""Tail-averaging and parameter mixing: what the mean of the last iterates is, and what it buys."""

import functools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from parle_ray.strategies import SGD, ParameterMixing, TailAveraging
from tests import reference_relatives as paper
from tests.problems import Batch, batches, run, sgd
from tests.relatives import HEAVY, check_against
from tests.test_identities import NESTEROV, ROUNDING, shifted


@pytest.mark.parametrize("decay", [1.0, 0.8], ids=["constant rate", "falling rate"])
def test_simulate_equals_the_paper(decay: float) -> None:
    tail = functools.partial(paper.tail_averaging, L=2, s=1)
    check_against(tail, TailAveraging(sync_every=2, tail=0.75), HEAVY, decay)
    mixing = functools.partial(paper.parameter_mixing, L=2, s=2)
    check_against(mixing, ParameterMixing(sync_every=2), NESTEROV, decay)


def test_the_mean_of_a_tail_of_one_round_is_the_last_iterate() -> None:
    nesterov = sgd(**NESTEROV)
    ours = run(TailAveraging(tail=0.01), num_rounds=7, inner_optimizer_fn=nesterov)
    assert torch.equal(ours.model, run(SGD(), num_rounds=7, inner_optimizer_fn=nesterov).master)
    mixed = run(ParameterMixing(sync_every=1, tail=0.01), num_rounds=7)
    torch.testing.assert_close(mixed.model, torch.stack(mixed.replicas).mean(0), **ROUNDING)


def test_the_tail_mean_changes_no_bit_of_the_training() -> None:
    ours, theirs = run(TailAveraging(), num_rounds=7), run(SGD(), num_rounds=7)
    assert torch.equal(ours.master, theirs.master)
    assert not torch.equal(ours.model, theirs.model)


def test_the_tail_mean_is_what_is_evaluated() -> None:
    def tell(module: nn.Module) -> dict[str, float]:
        return {"first": next(module.parameters()).flatten()[0].item()}

    outcome = run(TailAveraging(tail=1.0), num_rounds=5, evaluate_fn=tell)
    assert outcome.history[-1]["first"] == outcome.model[0] != outcome.master[0]
    saved = nn.utils.parameters_to_vector(outcome.module.parameters())
    assert torch.equal(saved, outcome.model)


def test_replicas_with_a_row_each_are_one_replica_with_all_rows() -> None:
    def rows(rank: int, num_replicas: int) -> list[Batch]:
        mine = slice(rank, rank + 1) if num_replicas == 4 else slice(None)
        return [(a[mine], b[mine]) for a, b in batches(0, 0)]

    four, one = (
        run(TailAveraging(), num_replicas=n, num_rounds=8, batches_fn=rows) for n in (4, 1)
    )
    torch.testing.assert_close(four.model, one.model, **ROUNDING)


def test_mixed_replicas_are_runs_that_never_meet() -> None:
    mixed = run(ParameterMixing(sync_every=4), num_replicas=3)
    alone = [
        run(ParameterMixing(sync_every=4), num_replicas=1, batches_fn=shifted(a)) for a in (0, 1, 2)
    ]
    assert all(
        torch.equal(ours, run.replicas[0]) for ours, run in zip(mixed.replicas, alone, strict=True)
    )
    expected = torch.stack([run.master for run in alone]).mean(0)
    torch.testing.assert_close(mixed.master, expected, **ROUNDING)


SPECTRUM = torch.tensor([1.0, 0.8, 0.6, 0.5], dtype=torch.float64)
REPEATS = 200


class Repeats(nn.Module):
    """So many least-squares problems side by side, with the optimum 1, begun at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(REPEATS, 4, dtype=torch.float64))


class Noise:
    """The targets' noise, of variance 1, without end; the rows are `sqrt(h_i) e_i`."""

    def __init__(self, rank: int) -> None:
        self._generator = torch.Generator().manual_seed(rank)

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.randn(REPEATS, 4, generator=self._generator, dtype=torch.float64)


def residuals(module: nn.Module, noise: Tensor) -> Tensor:
    return (SPECTRUM.sqrt() * (module.w - 1.0) - noise).square().sum() / 2.0


def risk(vector: Tensor) -> float:
    """`(1/2) ||w - 1||_H^2`, the mean of all problems."""
    return (SPECTRUM * (vector.reshape(REPEATS, 4) - 1.0).square()).sum(1).mean().item() / 2.0


def test_the_risk_of_the_tail_mean_falls_as_1_over_t_and_n_where_that_of_sgd_stands_still() -> None:
    risks, last = {}, {}
    for n, T in ((1, 16), (1, 64), (2, 16)):
        outcome = run(
            TailAveraging(),
            model_fn=Repeats,
            loss_fn=residuals,
            batches_fn=lambda rank, _: Noise(rank),
            inner_optimizer_fn=sgd(0.9),
            num_replicas=n,
            num_rounds=T,
        )
        risks[n, T], last[n, T] = risk(outcome.model), risk(outcome.master)
    assert last[1, 64] == pytest.approx(last[1, 16], rel=0.2)
    for (n, T), found in risks.items():
        variance = 4 / (2 * n * (T / 2))  # sigma^2 d / (2 n (T - s))
        assert found == pytest.approx(variance, rel=0.15), (n, T)
