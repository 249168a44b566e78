"""A table of ratings to be factorised: rows stay with their replica, columns are the model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from jobs.reproduction.papers.side_by_side import Problem
from parle_ray.strategies.rotation import block

ROWS, COLUMNS, RANK = 64, 32, 4
REPLICAS = 4
BATCH = 4
BATCHES_A_BLOCK = 16
"""Known ratings of each block of rows and columns, `BATCH` at a time: as many in all blocks."""
NOISE = 0.1
FARTHEST = 10.0
"""An error is cut here, where its gradient ends: a run that diverges stands still and is finite."""

Pair = tuple[Tensor, Tensor]
"""Rows and columns of ratings, `(ratings,)` each."""


class Columns(nn.Module):
    """h `(columns, seeds, rates, rank)`: a stretch of the vector is a stretch of columns."""

    def __init__(self, num_seeds: int, num_rates: int) -> None:
        super().__init__()
        self.h = nn.Parameter(_small((COLUMNS, num_seeds, num_rates, RANK), 1))


def _small(shape: Sequence[int], seed: int) -> Tensor:
    """First factors: the same for all rates."""
    each = (*shape[:2], 1, shape[3])
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(each, generator=generator, dtype=torch.float64).expand(*shape).clone()


def table(num_seeds: int) -> Tensor:
    """All ratings, `(rows, columns, seeds)`: a product of rank 4, and noise."""
    tables = []
    for seed in range(num_seeds):
        generator = torch.Generator().manual_seed(seed)
        w, h, noise = (
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((ROWS, RANK), (COLUMNS, RANK), (ROWS, COLUMNS))
        )
        tables.append(w @ h.T / RANK**0.5 + NOISE * noise)
    return torch.stack(tables, 2)


def blocks() -> tuple[list[list[Pair]], Pair]:
    """The known ratings, by block of rows and of columns; and those that are held out."""
    high, wide, known = ROWS // REPLICAS, COLUMNS // REPLICAS, BATCH * BATCHES_A_BLOCK
    generator = torch.Generator().manual_seed(0)
    inside: list[list[Pair]] = []
    outside = []
    for i in range(REPLICAS):
        inside.append([])
        for j in range(REPLICAS):
            order = torch.randperm(high * wide, generator=generator)
            pair = order // wide + i * high, order % wide + j * wide
            inside[i].append((pair[0][:known], pair[1][:known]))
            outside.append((pair[0][known:], pair[1][known:]))
    rows, columns = (torch.cat(side) for side in zip(*outside, strict=True))
    return inside, (rows, columns)


def factorise(rates: Sequence[float], num_seeds: int) -> Problem:
    """Squared error of known ratings; measured is its root mean square on those held out.

        e = w_i . h_j - v_ij;   w_i <- w_i - lr e h_j;   h_j <- h_j - lr e w_i

    Rows move as their ratings are drawn and are no part of what travels. All replicas' lie in one
    tensor here, of which each touches its own.
    """
    ratings, (_, held_out), lr = table(num_seeds), blocks(), torch.tensor(rates).double()
    w = _small((ROWS, num_seeds, len(rates), RANK), 2)

    def losses(module: nn.Module, some: Pair) -> Tensor:
        rows, columns = some
        own, h = w[rows], module.get_parameter("h")[columns]  # (ratings, seeds, rates, rank)
        error = (own * h).sum(3) - ratings[rows, columns].unsqueeze(2)
        error = error.clamp(-FARTHEST, FARTHEST)
        step = -lr.unsqueeze(1) * error.detach().unsqueeze(3) * h.detach()
        w.index_add_(0, rows, step)
        return error.square().sum(0) / 2.0

    def measure(module: nn.Module) -> Tensor:
        rows, columns = held_out
        told = (w[rows] * module.get_parameter("h").detach()[columns]).sum(3)
        return (told - ratings[rows, columns].unsqueeze(2)).square().mean(0).sqrt()

    return Problem(
        model_fn=lambda: Columns(num_seeds, len(rates)),
        loss_fn=losses,
        measure=measure,
        rates=lr,
    )


def mini_batches(pair: Pair, *, shuffled: bool) -> Iterator[Pair]:
    """`BATCH` ratings at a time."""
    rows, columns = pair
    order = torch.randperm(len(rows)) if shuffled else torch.arange(len(rows))
    for i in range(0, len(order), BATCH):
        some = order[i : i + BATCH]
        yield rows[some], columns[some]


@dataclass(frozen=True)
class OwnRows:
    """The batches of a replica that sees all columns, shuffled each pass."""

    ratings: Pair

    def __len__(self) -> int:
        return len(self.ratings[0]) // BATCH

    def __iter__(self) -> Iterator[Pair]:
        return mini_batches(self.ratings, shuffled=True)


@dataclass(frozen=True)
class Turns:
    """Batches for model rotation: in round k, of the columns that their replica owns in round k.

    Attributes:
        inside: of `blocks`.
        ranks: those who walk: one, or all of them one after the other.
    """

    inside: list[list[Pair]]
    ranks: Sequence[int]

    def __iter__(self) -> Iterator[Pair]:
        for round in count():
            for rank in self.ranks:
                ratings = self.inside[rank][block(rank, REPLICAS, round)]
                yield from mini_batches(ratings, shuffled=False)
