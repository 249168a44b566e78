"""Tail-averaging and mini-batches (Jain et al., arXiv 1610.03774) in least squares of known H.

Rows are Gaussian with covariance H = diag(h), targets `<w*, x> + noise`, w* = 0. For these the
paper's R^2 is tr H + 2 ||H||. The risk above that of w* is `(1/2) w^T H w`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from jobs.reproduction.papers.found import Claim, Found
from jobs.reproduction.papers.side_by_side import Problem, walk
from parle_ray.pace import rounds_in
from parle_ray.schedules import Schedule, Steps
from parle_ray.strategies import SGD, ParameterMixing, Strategy, TailAveraging

H = torch.arange(1, 33, dtype=torch.float64) ** -0.5
LARGEST = H.max().item()
R2 = H.sum().item() + 2.0 * LARGEST
THRESHOLD = 1.0 + R2 / LARGEST
"""Of the batch size: 1 + R^2 / ||H||."""
LENGTHS = (16, 64, 256, 1024)
MIXED = (1, 4, 16)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
EPOCHS, EPOCH_STEPS = 5, 132
"""Batch sizes, each twice the one before, and steps of each."""
NOISE = 0.3
"""Deviation of the targets, where T is what is looked at."""
REPEATS = 32
"""Runs for each seed, side by side: means of few risks are mostly those of the unluckiest."""


@dataclass(frozen=True)
class Examples:
    """Batches `(seeds, 1, batch_size, 32)` of rows, and their targets' noise, without end."""

    num_runs: int
    batch_size: int
    noise: float

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            rows = torch.randn(self.num_runs, 1, self.batch_size, len(H), dtype=H.dtype) * H.sqrt()
            yield rows, self.noise * torch.randn(self.num_runs, 1, self.batch_size, dtype=H.dtype)


class Weights(nn.Module):
    """w `(seeds, rates, 32)`, that many in each coordinate at the start."""

    def __init__(self, num_runs: int, num_rates: int, start: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((num_runs, num_rates, len(H)), start, dtype=H.dtype))


def squares(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`(1/2) mean_i (<w, x_i> - y_i)^2`, `(seeds, rates)`."""
    rows, noise = batch
    return ((rows @ module.get_parameter("w").unsqueeze(3)).squeeze(3) - noise).square().mean(
        2
    ) / 2.0


def risk(module: nn.Module) -> Tensor:
    """`(1/2) w^T H w`, `(seeds, rates)`."""
    return (H * module.get_parameter("w").detach().square()).sum(2) / 2.0


def fit(
    strategy: Strategy,
    num_seeds: int,
    rates: list[float],
    *,
    num_rounds: int,
    n: int = 1,
    batch_size: int = 1,
    noise: float = 0.0,
    start: float = 0.0,
) -> list[float]:
    """The risk at the end of each rate, mean over all runs."""
    runs = num_seeds * REPEATS
    problem = Problem(
        model_fn=lambda: Weights(runs, len(rates), start),
        loss_fn=squares,
        measure=risk,
        rates=torch.tensor(rates, dtype=H.dtype),
    )
    some = Examples(runs, batch_size, noise)
    trace = walk(
        problem,
        strategy,
        lambda rank, num_replicas: some,
        num_replicas=n,
        num_rounds=num_rounds,
        every=num_rounds,
    )
    return [float(value) for value in trace.values[-1]]


def run(num_seeds: int) -> Found:
    """Risk against T, against the batch size, and against the number of mixed runs."""
    lengths, batches = _against_length(num_seeds), _against_batch(num_seeds)
    curves = [
        pd.DataFrame({"curve": name, "x": LENGTHS, "y": values}) for name, values in lengths.items()
    ]
    return Found(
        claims=(
            _length_claim(lengths),
            _batch_claim(batches),
            _doubling_claim(num_seeds),
            *_mixing_claims(num_seeds),
        ),
        curves=pd.concat(curves),
        x="steps T (log)",
        y="risk above the optimum's (log)",
    )


def _against_length(num_seeds: int) -> dict[str, list[float]]:
    """Name of a model -> its risk at each length, at half of the largest safe rate."""
    models = {
        "last iterate": SGD(),
        "mean of the second half": TailAveraging(tail=0.5),
        "mean of all": TailAveraging(tail=1.0),
    }
    return {
        name: [
            fit(model, num_seeds, [1.0 / R2], num_rounds=length, noise=NOISE, start=1.0)[0]
            for length in LENGTHS
        ]
        for name, model in models.items()
    }


def _length_claim(risks: dict[str, list[float]]) -> Claim:
    last, tail, everything = (values[-1] for values in risks.values())
    variance = NOISE**2 * len(H) / 2.0 / (LENGTHS[-1] / 2.0)
    return Claim(
        says="the tail's mean has the optimal risk, where the last iterate's stands still and the "
        "mean of all iterates remembers the start",
        published="sigma^2 d / (2 (T - s)) but for a constant",
        ours=f"T = {LENGTHS[-1]}: {tail:.2g} with the tail, {tail / variance:.1f} times the "
        f"published; {last:.2g} last iterate, {everything:.2g} from the start",
        kept=tail < min(last, everything) and tail < 2.0 * variance,
    )


def _against_batch(num_seeds: int) -> dict[int, float]:
    """b -> how fast the start is forgotten in a step, the best rate of several, against b = 1."""
    forgotten = {}
    for b in BATCHES:
        safe = 2.0 * b / (R2 + (b - 1) * LARGEST)  # the paper's largest rate
        rates = [safe * 2.0 ** (-i / 2.0) for i in range(-1, 5)]
        left = fit(SGD(), num_seeds, rates, num_rounds=40, batch_size=b, start=1.0)
        forgotten[b] = math.log(H.sum().item() / 2.0 / min(left))
    return {b: value / forgotten[1] for b, value in forgotten.items()}


def _batch_claim(gains: dict[int, float]) -> Claim:
    told = ", ".join(f"b = {b}: {gain:.1f}" for b, gain in gains.items())
    small = [b for b in gains if b <= THRESHOLD / 2.0]
    growth = gains[BATCHES[-1]] / gains[BATCHES[-2]]
    linear = gains[small[-1]] / small[-1]
    return Claim(
        says="mini-batches speed up a step linearly up to b = 1 + R^2/||H||, then no more",
        published=f"b times; here up to b = {THRESHOLD:.0f}",
        ours=f"{told}: {linear:.0%} of linear at {small[-1]}, {growth - 1.0:.0%} more from "
        f"{BATCHES[-2]} to {BATCHES[-1]}",
        kept=linear > 0.5 and growth < 1.25,
        why="Of the logarithm of the risk after 40 steps without noise, the best of six rates.",
    )


def _doubling_claim(num_seeds: int) -> Claim:
    examples = EPOCH_STEPS * (2**EPOCHS - 1)
    drops = tuple((2**epoch - 1) / (2**EPOCHS - 1) for epoch in range(1, EPOCHS))
    sizes = Steps(tuple(2.0**epoch for epoch in range(EPOCHS)), drops)
    steps = rounds_in(sizes, examples)

    def risk(batch: int | Schedule, num_rounds: int, tail: float) -> float:
        model = TailAveraging(sync_every=batch, tail=tail)
        rates = [1.0 / R2]
        return fit(model, num_seeds, rates, num_rounds=num_rounds, noise=NOISE, start=1.0)[0]

    one, doubling = risk(1, examples, 0.5), risk(sizes, steps, 1.0 / EPOCHS)
    short = risk(1, steps, 0.5)
    return Claim(
        says="a batch that doubles has the risk of single examples, in far fewer steps",
        published="the same but for a constant, in the steps of whole-batch gradient descent",
        ours=f"{examples} examples, b = 1 to {2 ** (EPOCHS - 1)}: {doubling:.2g} after {steps} "
        f"steps; b = 1: {one:.2g} after {examples}, {short:.2g} after {steps}",
        kept=doubling < 2.0 * one and doubling < short / 2.0,
        why="Each batch size has as many steps; the mean is of those of the largest.",
    )


def _mixing_claims(num_seeds: int) -> list[Claim]:
    ratios: dict[str, dict[int, float]] = {}
    for part, rate, noise, start in (("variance", 0.5, 1.0, 0.0), ("bias", 0.1, 0.0, 1.0)):
        risks = [
            fit(
                ParameterMixing(sync_every=60),
                num_seeds,
                [rate / R2],
                num_rounds=2,
                n=n,
                noise=noise,
                start=start,
            )[0]
            for n in MIXED
        ]
        ratios[part] = {n: risks[0] / risk for n, risk in zip(MIXED, risks, strict=True)}
    told = {
        part: ", ".join(f"{f:.1f} with n = {n}" for n, f in rs.items() if n > 1)
        for part, rs in ratios.items()
    }
    return [
        Claim(
            says="runs that never meet, averaged, have an n-th of the variance",
            published="n times less",
            ours=told["variance"] + " times less",
            kept=all(0.7 * n < ratios["variance"][n] < 1.4 * n for n in (4, 16)),
        ),
        Claim(
            says="and all of the bias",
            published="1 times less",
            ours=told["bias"] + " times less",
            kept=ratios["bias"][16] < 2.0,
            why="Runs of 120 steps without noise, at a tenth of the largest rate: the start is "
            "still remembered, and what a run's own rows do to it is little.",
        ),
    ]
