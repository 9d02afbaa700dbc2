"""How many pairs of a map are at each level."""

from __future__ import annotations

import numpy as np

from phenobench.compiled import compiled
from phenobench.metrics.similarity import LEVELS


@compiled
def collect_levels(cosines: np.ndarray, diagonal: bool, into: np.ndarray) -> int:
    """Write the levels of a block's cells into int32 (m,), from 0 for a cosine of -1; how many there are.

    Args:
        cosines: float64 (r, c), of no more than m cells.
        diagonal: whether only cells above the diagonal count.
        into: overwritten from its start.
    """
    filled = 0
    for row in range(len(cosines)):
        first = row + 1 if diagonal else 0
        own = cosines[row, first:]
        part = into[filled : filled + len(own)]
        for column in range(len(own)):
            part[column] = np.int32(np.rint(own[column] * LEVELS)) + np.int32(LEVELS)
        filled += len(own)
    return filled


@compiled
def count_levels(places: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """Count places int32 (m,) in counts uint32; the lowest place, and the one behind the highest."""
    low, high = np.int32(len(counts)), np.int32(-1)
    for item in range(len(places)):
        low, high = min(low, places[item]), max(high, places[item])
    for item in range(len(places)):
        counts[np.uint32(places[item])] += np.uint32(1)
    return int(low), int(high) + 1
