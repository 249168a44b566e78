"""So few points of a line that a browser stays quick, and still every peak of it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST = 1000
"""Points of a line; a screen has not many more columns."""


def thin(values: pd.Series, most: int = MOST) -> NDArray[np.int64]:
    """Which of the values to draw, in order, `most` of them at most.

    The first, the last, and the lowest and the highest of each stretch in between; a stretch
    without any number keeps one of its gaps, so a line that breaks off is seen to do so.

    >>> thin(pd.Series([0, 0, 9, 0, 0, 0, -9, 0]), most=6).tolist()
    [0, 2, 4, 6, 7]
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    width = -(-n // ((most - 2) // 2))
    padded = np.full(-(-n // width) * width, np.nan)
    padded[:n] = values.to_numpy(float, na_value=np.nan)
    table = padded.reshape(-1, width)
    begins = np.arange(len(table)) * width
    lowest = begins + np.where(np.isnan(table), np.inf, table).argmin(axis=1)
    highest = begins + np.where(np.isnan(table), -np.inf, table).argmax(axis=1)
    return np.unique(np.concatenate([[0], lowest, highest, [n - 1]]))


def shares(flags: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """In stretches of equal length, `most` at most: the part of the rows that have each flag.

    Its index has the last row of each stretch.
    """
    width = -(-len(flags) // most)
    groups = np.arange(len(flags)) // max(1, width)
    told = flags.astype(float).groupby(groups).mean()
    return told.set_index(flags.index.to_series().groupby(groups).last())
