"""Streaming DiLoCo: against its paper, its relation to DiLoCo, and what its rounds move."""

import functools
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from parle_ray.schedules import Geometric
from parle_ray.strategies import DiLoCo, StreamingDiLoCo
from tests import reference_relatives as paper
from tests.problems import NUM_PARAMS, Batch, run, sgd
from tests.reference import geometric
from tests.relatives import PLAIN, K, check_against
from tests.test_identities import NESTEROV, ROUNDING

OUTER: dict[str, Any] = {"outer_lr": 0.4, "outer_momentum": 0.5}


@pytest.mark.parametrize("options", [PLAIN, NESTEROV], ids=["plain", "Nesterov"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("fragments", [1, 2, 3, 4])
def test_simulate_equals_the_paper(fragments: int, alpha: float, options: dict[str, Any]) -> None:
    """Of six parameters, which four fragments do not divide, in four rounds."""
    settings: dict[str, Any] = {"L": 2, "F": fragments, "mu": 0.9, "alpha": alpha}
    algorithm = functools.partial(paper.streaming_diloco, eta=geometric(1, 0.5, K), **settings)
    strategy = StreamingDiLoCo(
        sync_every=2, fragments=fragments, alpha=alpha, outer_lr=Geometric(1.0, 0.5)
    )
    check_against(algorithm, strategy, options, 0.8)


def linear(module: nn.Module, batch: Batch) -> Tensor:
    """Its gradient is the same everywhere."""
    return module(batch[0]).mean()


def test_where_the_gradient_is_the_same_everywhere_one_fragment_taken_as_it_is_is_diloco() -> None:
    settings: dict[str, Any] = {"loss_fn": linear, "num_replicas": 3, "num_rounds": 7}
    settings["inner_optimizer_fn"] = sgd(momentum=0.9)
    streaming = StreamingDiLoCo(sync_every=2, fragments=1, alpha=0.0, **OUTER)
    ours = run(streaming, **settings).master
    theirs = run(DiLoCo(sync_every=2, **OUTER), **settings).master
    torch.testing.assert_close(ours, theirs, **ROUNDING)


@pytest.mark.parametrize("p", [0, 1])
def test_the_first_two_fragments_go_as_in_diloco_whose_rounds_are_as_long(p: int) -> None:
    """Nothing has come back by then."""
    streaming = StreamingDiLoCo(sync_every=2, fragments=3, **OUTER)
    ours = run(streaming, num_rounds=p + 1).master
    theirs = run(DiLoCo(sync_every=2 * (p + 1), **OUTER), num_rounds=1).master
    fragment = streaming.moves(p, NUM_PARAMS)
    torch.testing.assert_close(ours[fragment], theirs[fragment], **ROUNDING)


@given(fragments=st.integers(1, 9), num_params=st.integers(1, 50), round=st.integers(0, 99))
def test_in_as_many_rounds_as_there_are_fragments_every_parameter_travels_once(
    fragments: int, num_params: int, round: int
) -> None:
    strategy = StreamingDiLoCo(fragments=fragments)
    parts = [strategy.moves(round + i, num_params) for i in range(fragments)]
    travelled = sorted(itertools.chain(*(range(num_params)[part] for part in parts)))
    assert travelled == list(range(num_params))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
