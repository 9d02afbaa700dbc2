"""Where bounds are among ascending values."""

from __future__ import annotations

import numpy as np

from phenobench.compiled import compiled

# So many ties are met one by one, and more are searched for.
_STEPPED = 8


@compiled
def count_below(values: np.ndarray, bounds: np.ndarray, counts: np.ndarray) -> None:
    """How many of the ascending values are below each bound, into the first counts int64.

    All bounds take each step together: one search alone waits for its own last step, or guesses wrong.
    """
    counts[: len(bounds)] = 0
    if not len(values):
        return
    left = len(values)
    while left > 1:
        half = left >> 1
        for item in range(len(bounds)):
            counts[item] += half & -np.int64(values[counts[item] + half - 1] < bounds[item])
        left -= half
    for item in range(len(bounds)):
        counts[item] += np.int64(values[counts[item]] < bounds[item])


@compiled
def behind(levels: np.ndarray, n_below: int, level: np.float32) -> int:
    """How many of the ascending levels are up to one, given how many are below it."""
    upto = n_below
    while upto < len(levels) and levels[upto] == level:
        upto += 1
        if upto == n_below + _STEPPED:
            return _below(levels, level + np.float32(1.0))
    return upto


@compiled
def _below(values: np.ndarray, bound: np.float32) -> int:
    """How many of the ascending values are below a bound."""
    first, count = 0, len(values)
    while count > 1:
        half = count >> 1
        first += half if values[first + half - 1] < bound else 0
        count -= half
    return first + (1 if count and values[first] < bound else 0)
