"""Is it more than chance: the null distribution of average precision, its p-values, and many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phenobench.errors import InputError

NULL_SIZE = 10_000
# Statistics closer than this are equal: sums of reciprocals in another order differ in their last bits.
TOLERANCE = 1e-9
# Up to so many positions a sample are compared with each other; for more, a table of places that are taken is faster.
_FEW = 64
# Cells of the table of places that are taken, held at a time.
_BLOCK_CELLS = 2**22


def distinct_positions(rng: np.random.Generator, size: int, count: int, total: int) -> np.ndarray:
    """Uniform samples of ``count`` of the positions 0 to ``total`` - 1 without replacement, int32 (size, count).

    Floyd's algorithm (Bentley and Floyd 1987), all samples at once: it draws ``count`` numbers a
    sample and never a list of ``total``. Each sample is a uniform set; its order is not random.
    """
    drawn = np.stack([rng.integers(0, last, size, dtype=np.int32, endpoint=True) for last in _lasts(count, total)])
    if count <= _FEW:
        for column, last in enumerate(_lasts(count, total)):
            drawn[column, (drawn[:column] == drawn[column]).any(axis=0)] = last
        return np.ascontiguousarray(drawn.T)
    picked = np.ascontiguousarray(drawn.T)
    step = max(1, _BLOCK_CELLS // total)
    for start in range(0, size, step):
        block = picked[start : start + step]
        rows, taken = np.arange(len(block)), np.zeros((len(block), total), dtype=bool)
        for column, last in enumerate(_lasts(count, total)):
            block[taken[rows, block[:, column]], column] = last
            taken[rows, block[:, column]] = True
    return picked


def _lasts(count: int, total: int) -> range:
    return range(total - count, total)


def average_precision_null(n_positive: int, n_total: int, size: int = NULL_SIZE, seed: int = 0) -> np.ndarray:
    """Average precision of random rankings, sorted, float64 (size,).

    The ranks of the positives are sampled (copairs 0.5.5 permutes whole lists). The stream depends
    on (seed, n_positive, n_total) alone, so a query's p-value does not depend on what else is scored.

    Args:
        n_positive: positives in the list, at least 1.
        n_total: length of the list, more than ``n_positive``.
        size: random rankings.
        seed: of the null distribution.

    Raises:
        InputError: a list without positives or without negatives, or no rankings.
    """
    if not 0 < n_positive < n_total:
        raise InputError(f"a list of {n_total} with {n_positive} positives has no null; it needs both sorts of items")
    if size < 1:
        raise InputError(f"a null of {size} rankings has no p-value; give at least 1")
    rng = np.random.default_rng([seed, n_positive, n_total])
    if 2 * n_positive <= n_total:
        rank = np.sort(distinct_positions(rng, size, n_positive, n_total), axis=1) + 1
        return np.sort((np.arange(1, n_positive + 1) / rank).mean(axis=1))
    # Fewer negatives than positives: sample where those stand, and the others are what is left.
    null = np.empty(size)
    negatives = distinct_positions(rng, size, n_total - n_positive, n_total)
    step = max(1, _BLOCK_CELLS // n_total)
    for start in range(0, size, step):
        block = negatives[start : start + step]
        positive = np.ones((len(block), n_total), dtype=bool)
        np.put_along_axis(positive, block.astype(np.intp), False, axis=1)
        rank = np.nonzero(positive)[1].reshape(len(block), n_positive) + 1
        null[start : start + step] = (np.arange(1, n_positive + 1) / rank).mean(axis=1)
    return np.sort(null)


def average_precision_p_values(
    precision: np.ndarray, n_positive: np.ndarray, n_total: np.ndarray, *, size: int = NULL_SIZE, seed: int = 0
) -> np.ndarray:
    """p-values of queries: (r + 1) / (n + 1) for the r of n random rankings with at least as high an average precision.

    Queries with the same (n_positive, n_total) share a null. The smallest p is 1 / (n + 1), and never
    below the probability of a perfect ranking. These are p-values of single queries: those of one
    perturbation are dependent, and ``group_null`` is for them.

    Args:
        precision: average precision (m,), NaN where undefined.
        n_positive: positives of each query (m,).
        n_total: positives and negatives of each query (m,).
        size: random rankings.
        seed: of the null distribution.

    Returns:
        float64 (m,), NaN where the average precision is or where one sort of items is missing.
    """
    precision = np.asarray(precision, dtype=np.float64)
    n_positive, n_total = np.asarray(n_positive, dtype=np.int64), np.asarray(n_total, dtype=np.int64)
    p_values = np.full(len(precision), np.nan)
    # One number a pair: unique rows of a matrix are found much more slowly.
    longest = int(n_total.max(initial=0)) + 1
    codes, which = np.unique(n_positive * longest + n_total, return_inverse=True)
    for number, code in enumerate(codes.tolist()):
        positives, total = divmod(code, longest)
        if 0 < positives < total:
            rows = which == number
            p_values[rows] = p_value(precision[rows], average_precision_null(positives, total, size, seed))
    p_values[np.isnan(precision)] = np.nan
    return p_values


def p_value(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(r + 1) / (n + 1) for the r of n sorted null values that are at least as large, or equal but for rounding."""
    at_least = len(null) - np.searchsorted(null, observed - TOLERANCE, "left")
    return (at_least + 1.0) / (len(null) + 1.0)


def benjamini_hochberg(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """q-values that control the false discovery rate (Benjamini and Hochberg 1995), float64 (m,).

    NaN stays NaN and does not count as a test.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    m = len(order)
    scaled = given[order] * m / np.arange(1, m + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values that hold together for all tests (Holm 1979), float64 (m,).

    The family-wise error stays at the level whatever the dependence. NaN stays NaN and does not count as a test.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    scaled = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
