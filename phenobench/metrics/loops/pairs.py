"""Pairs of rows: which there are, and their levels in float64."""

from __future__ import annotations

import numpy as np

from phenobench.compiled import compiled
from phenobench.metrics.similarity import LEVELS, UNDEFINED

# So few are sorted one by one.
_INSERTED = 48


@compiled
def scale_rows(rows: np.ndarray) -> int:
    """Scale rows float64 (n, d) to length 1 but for zero ones; the first that is not finite, where it ends, or n.

    Scaling by the largest entry first keeps the squares of very large or small values finite.
    """
    for number in range(len(rows)):
        row = rows[number]
        # NaN times 0 is NaN, and so is infinity.
        largest, odd = 0.0, 0.0
        for place in range(len(row)):
            largest = max(largest, abs(row[place]))
            odd += row[place] * 0.0
        if odd != 0.0:
            return number
        if largest > 0.0:
            for place in range(len(row)):
                row[place] /= largest
            length = np.sqrt(dot(row, row))
            for place in range(len(row)):
                row[place] /= length
    return len(rows)


@compiled
def dot(one: np.ndarray, other: np.ndarray) -> float:
    """Product of two rows float64 (d,)."""
    total = 0.0
    for place in range(len(one)):
        total += one[place] * other[place]
    return total


@compiled
def level_of(cosine: float, absolute: bool) -> np.float32:
    """A cosine in float64 as ``similarity.levels`` rounds it, or its magnitude."""
    level = np.float32(np.rint(cosine * LEVELS))
    return abs(level) if absolute else level


@compiled
def group_pairs(
    rows: np.ndarray, members: np.ndarray, first: np.ndarray, last: np.ndarray, query: np.ndarray, other: np.ndarray
) -> None:
    """Fill in the pairs of queries with the other members of their groups.

    Args:
        rows: of the queries (q,).
        members: rows, those of a group next to each other.
        first: where each query's group begins in them (q,).
        last: where it ends (q,).
        query: each pair's query, by number, int64 (m,).
        other: its other row, int64 (m,).
    """
    filled = 0
    for number in range(len(rows)):
        for place in range(first[number], last[number]):
            if members[place] != rows[number]:
                query[filled], other[filled] = number, members[place]
                filled += 1


@compiled
def pair_levels(
    units: np.ndarray, other_units: np.ndarray, absolute: bool,
    queries: np.ndarray, rows: np.ndarray, start: np.ndarray, others: np.ndarray, level: np.ndarray,
) -> None:  # fmt: skip
    """Fill in the levels of some queries' pairs, and put each query's in order, the highest first.

    Args:
        units: rows of length 1, or zero where there is no cosine, float64 (n, d).
        other_units: the same of others.
        absolute: whether magnitudes count.
        queries: numbers of the queries, in the order of the work.
        rows: of all queries (q,).
        start: first pair of each query, and the number of pairs (q + 1,).
        others: rows of the pairs (m,), put in that order, too.
        level: float32 (m,).
    """
    for query in queries:
        row = rows[query]
        undefined = not units[row].any()
        for pair in range(start[query], start[query + 1]):
            other = other_units[others[pair]]
            cosine = dot(units[row], other)
            # Few cosines are 0, and of fewer the reason has to be found.
            undefined_pair = undefined or (cosine == 0.0 and not other.any())
            level[pair] = UNDEFINED if undefined_pair else level_of(cosine, absolute)
        _sort_descending(level[start[query] : start[query + 1]], others[start[query] : start[query + 1]])


@compiled
def _sort_descending(level: np.ndarray, others: np.ndarray) -> None:
    """Sort levels (k,), the highest first, and what belongs to them (k,)."""
    if len(level) > _INSERTED:
        order = np.argsort(-level)
        level[:], others[:] = level[order], others[order]
        return
    for place in range(1, len(level)):
        own, other = level[place], others[place]
        while place > 0 and level[place - 1] < own:
            level[place], others[place] = level[place - 1], others[place - 1]
            place -= 1
        level[place], others[place] = own, other
