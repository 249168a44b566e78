"""Harp's model rotation (Zhang, Peng, Qiu, ICCS 2016): matrix factorisation without conflict."""

from collections.abc import Iterable, Sequence

import pandas as pd
import torch

from jobs.reproduction.papers.found import Claim, Found
from jobs.reproduction.papers.ratings import (
    BATCHES_A_BLOCK,
    REPLICAS,
    OwnRows,
    Pair,
    Turns,
    blocks,
    factorise,
)
from jobs.reproduction.papers.side_by_side import Trace, times, walk
from parle_ray.strategies import LocalSGD, Rotation, Splash, Strategy

RATES = (0.0125, 0.025, 0.05, 0.1, 0.2)
PASSES = 12
TARGET_PASSES = 2
"""Of sequential SGD, whose error then is what the others are to reach."""


def run(num_seeds: int) -> Found:
    """One replica in sequence, four that rotate columns, four that average stale copies."""
    inside, _ = blocks()
    everything = _joined([pair for row in inside for pair in row])
    own = [OwnRows(_joined(row)) for row in inside]
    turn = BATCHES_A_BLOCK * REPLICAS
    alone = walk(
        factorise(RATES, num_seeds),
        LocalSGD(sync_every=turn),
        lambda rank, n: OwnRows(everything),
        num_rounds=PASSES * REPLICAS,
    )
    in_turns = [Turns(inside, [rank]) for rank in range(REPLICAS)]
    rotated = _together(Rotation(sync_every=BATCHES_A_BLOCK), in_turns, num_seeds)
    averaged, splash = (
        _together(kind(sync_every=BATCHES_A_BLOCK), own, num_seeds) for kind in (LocalSGD, Splash)
    )
    told = {
        "one replica": alone,
        "model rotation, n = 4": rotated,
        "averaging, n = 4": averaged,
        "Splash, n = 4": splash,
    }
    return Found(
        claims=(_exact_claim(inside), _speed_claim(alone, rotated, averaged, splash)),
        curves=pd.concat(trace.curve(name) for name, trace in told.items()),
        x="mini-batches that a replica walks, one after the other (log)",
        y="root mean square error, ratings held out, best rate for each time (log)",
    )


def _joined(pairs: Sequence[Pair]) -> Pair:
    rows, columns = (torch.cat(side) for side in zip(*pairs, strict=True))
    return rows, columns


def _together(
    strategy: Strategy, batches: Sequence[Iterable[Pair]], num_seeds: int, passes: int = PASSES
) -> Trace:
    return walk(
        factorise(RATES, num_seeds),
        strategy,
        lambda rank, n: batches[rank],
        num_replicas=REPLICAS,
        num_rounds=passes * REPLICAS,
    )


def _exact_claim(inside: list[list[Pair]]) -> Claim:
    """Four replicas in turns, and one that walks all their turns one after the other."""
    in_turns = [Turns(inside, [rank]) for rank in range(REPLICAS)]
    rotated = _together(Rotation(sync_every=BATCHES_A_BLOCK), in_turns, 1, passes=2)
    in_order = walk(
        factorise(RATES, 1),
        LocalSGD(sync_every=BATCHES_A_BLOCK * REPLICAS),
        lambda rank, n: Turns(inside, range(REPLICAS)),
        num_rounds=2 * REPLICAS,
    )
    apart = (rotated.values / in_order.values - 1.0).abs().max().item()
    return Claim(
        says="a replica always works on the latest parameters: no conflict, no stale copy",
        published="exact, where the others approximate",
        ours=f"the errors of two passes are those of sequential SGD in the same order, within "
        f"{apart:.0e} of them",
        kept=apart < 1e-12,
    )


def _speed_claim(alone: Trace, rotated: Trace, averaged: Trace, splash: Trace) -> Claim:
    target = alone.at(TARGET_PASSES * BATCHES_A_BLOCK * REPLICAS**2)
    others = {"one replica": alone, "averaging": averaged, "Splash": splash}
    gains = {name: rotated.gain_on(trace, target) for name, trace in others.items()}
    return Claim(
        says="faster in converging than schemes with stale copies",
        published="up to 3.9 times as fast as Petuum, on topic models",
        ours=", ".join(f"{times(gain)} as fast as {name}" for name, gain in gains.items())
        + f", to the error of one replica after {TARGET_PASSES} passes",
        kept=min(gains.values()) > 1.0,
        why="Synthetic ratings; averaging exchanges as often as rotation.",
    )
