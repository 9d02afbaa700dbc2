"""A tile of similarities, counted by row and by column at once."""

from __future__ import annotations

import numpy as np

from phenobench.compiled import compiled
from phenobench.metrics.loops.pairs import dot, level_of
from phenobench.metrics.similarity import UNDEFINED


@compiled
def count_both_ways(
    tile: np.ndarray, margin: np.float32, units: np.ndarray, other_units: np.ndarray, bars: np.ndarray,
    other_bars: np.ndarray, most_open: int, counts: np.ndarray, other_counts: np.ndarray,
) -> bool:  # fmt: skip
    """Count how many cells of each row are above and at the row's level, and of each column the column's.

    Args:
        tile: levels, off by up to the margin but for what is undefined (``UNDEFINED``) or does not count
            (below that), float32 (r, c).
        margin: as far as a level may be off.
        units: of the rows, float64 (r, d).
        other_units: of the columns, float64 (c, d).
        bars: the rows' levels, float32 (r,).
        other_bars: the columns' levels, float32 (c,).
        most_open: cells to compute at most, those that the margin leaves open.
        counts: above, and at, int64 (2, r), added to.
        other_counts: the same of columns, int64 (2, c).

    Returns:
        False where more are open; counts are of no use then.
    """
    n_open = 0
    n = len(other_bars)
    above = np.zeros(n, dtype=np.int32)
    for row in range(len(bars)):
        own, bar = tile[row], bars[row]
        sure, unsure = np.int32(0), np.int32(0)
        for place in range(n):
            over, other_over = own[place] - bar, own[place] - other_bars[place]
            sure += np.int32(over > margin)
            above[place] += np.int32(other_over > margin)
            unsure += np.int32((abs(over) <= margin) | (abs(other_over) <= margin))
        counts[0, row] += sure
        n_open += int(unsure)
        if n_open > most_open:
            return False
        for place in range(n if unsure else 0):
            open_, other_open = abs(own[place] - bar) <= margin, abs(own[place] - other_bars[place]) <= margin
            if open_ or other_open:
                defined = own[place] > UNDEFINED
                level = level_of(dot(units[row], other_units[place]), False) if defined else own[place]
                if open_:
                    counts[0, row] += level > bar
                    counts[1, row] += level == bar
                if other_open:
                    other_counts[0, place] += level > other_bars[place]
                    other_counts[1, place] += level == other_bars[place]
    other_counts[0] += above
    return True
