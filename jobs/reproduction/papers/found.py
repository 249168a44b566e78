"""What comes of a paper's experiment: claims with two figures each, and curves."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says, and what was found here.

    Attributes:
        says: the paper, in a sentence.
        published: its figure, or what it says in the place of one.
        ours: the same here.
        kept: whether the order that it claims is the order here.
        why: what is not alike, or why the claim does not show.
    """

    says: str
    published: str
    ours: str
    kept: bool
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that comes of an experiment.

    Attributes:
        claims: in the order of the paper.
        curves: columns curve, x and y.
        x: what x is.
        y: what y is.
    """

    claims: tuple[Claim, ...]
    curves: pd.DataFrame
    x: str
    y: str
