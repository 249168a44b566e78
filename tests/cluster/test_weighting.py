"""Pushes that count for their examples: the bits of `simulate()`, however the master is kept."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from parle_ray import simulate
from parle_ray.strategies import SGD, DiLoCo, LocalSGD, Parle, Strategy
from tests.cluster import task
from tests.cluster.test_fit import master_of, nightly
from tests.cluster.test_resume import Unplugged, unplug_at


def arguments() -> dict[str, Any]:
    """The task, with larger mini-batches for higher ranks; the last of each pass is short."""
    x, labels = task.data()

    def batches_fn(rank: int, num_replicas: int) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(TensorDataset(x, labels), batch_size=20 + 30 * rank, shuffle=True)

    return task.arguments() | {"batches_fn": batches_fn}


@pytest.mark.parametrize(
    ("strategy", "num_replicas", "kept"),
    [
        (LocalSGD(sync_every=4, weighting="samples"), 3, {"tree": 2}),
        (SGD(sync_every=2, weighting="samples"), 2, {"shards": 2}),
        pytest.param(Parle(weighting="samples"), 2, {"compression": "int8"}, marks=nightly),
    ],
    ids=["a tree", "shards", "codes"],
)
def test_fit_gives_the_bits_of_simulate(
    trainer: Any, strategy: Strategy, num_replicas: int, kept: dict[str, Any]
) -> None:
    result = trainer(strategy, num_replicas, **arguments(), **kept).fit()
    kept.pop("shards", None)
    outcome = simulate(strategy=strategy, num_replicas=num_replicas, **arguments(), **kept)
    assert torch.equal(master_of(result), outcome.model)
    whole = outcome.history[-1]
    told = {key: result.metrics[key] for key in whole if key in result.metrics}
    assert told == pytest.approx(whole)


def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(trainer: Any) -> None:
    strategy = DiLoCo(sync_every=4, weighting="samples")
    with pytest.raises(Unplugged):
        trainer(strategy, checkpoint_every=3, on_report=unplug_at(5), **arguments()).fit()
    result = trainer(strategy, **arguments()).fit()
    outcome = simulate(strategy=strategy, num_replicas=2, **arguments())
    assert torch.equal(master_of(result), outcome.master)
