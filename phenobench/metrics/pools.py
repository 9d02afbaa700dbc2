"""Average precision of items with a label, ranked in a pool: actives among genes, annotated pairs among all pairs."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma

from phenobench.metrics.similarity import levels


def precision_of_positives(level: np.ndarray, n_above: np.ndarray, n_equal: np.ndarray) -> np.ndarray:
    """Expected precision at each positive of one ranking, over random orders of tied items; their mean is the AP.

    The closed form of ``ties.precision_in_block`` with harmonic numbers by the digamma function,
    since a map of 18,000 genes has 162 million pairs to rank.

    Args:
        level: of each positive (m,); equal levels are tied.
        n_above: items of any label above each positive's level (m,).
        n_equal: items at each positive's level, itself included (m,).

    Returns:
        The mean precision of the positives in the same tied block, float64 (m,).
    """
    _, block, p = np.unique(-level, return_inverse=True, return_counts=True)
    first = np.unique(block, return_index=True)[1]
    above = np.cumsum(p) - p
    rank = n_above[first].astype(np.float64)
    # A similarity that another order of summation puts on the next level may find nobody there.
    size = np.maximum(n_equal[first], p).astype(np.float64)
    slope = np.divide(p - 1.0, size - 1.0, out=np.zeros(len(p)), where=size > 1)
    # A difference of digammas loses its digits where a single place is behind many.
    tail = np.where(size > 1, digamma(rank + size + 1) - digamma(rank + 1), 1 / (rank + 1))
    total = (slope * size + (above + 1.0 - slope * (rank + 1.0)) * tail) / size
    return np.asarray(total[block], dtype=np.float64)


def pool_average_precision(similarity: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Average precision of a pool's positives, and its exact expectation without information.

    Args:
        similarity: of the pool's items to the query (c,), NaN where undefined: those take the worst rank.
        positive: boolean (c,), some true and some false.
    """
    level = np.where(np.isnan(similarity), -np.inf, levels(np.nan_to_num(similarity)))
    ordered = np.sort(level)
    below, upto = (ordered.searchsorted(level[positive], side) for side in ("left", "right"))
    precision = precision_of_positives(level[positive], len(level) - upto, upto - below).mean()
    zero = np.zeros(int(positive.sum()))
    return float(precision), float(precision_of_positives(zero, zero, zero + len(level))[0])
