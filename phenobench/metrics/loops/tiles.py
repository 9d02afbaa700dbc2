"""A tile of similarities: what does not count in it, and how much of the rest is above and at levels."""

from __future__ import annotations

import numpy as np

from phenobench.compiled import compiled
from phenobench.metrics.loops.pairs import dot, level_of
from phenobench.metrics.loops.search import behind, count_below
from phenobench.metrics.similarity import UNDEFINED

# Cells looked at at once, in vectors, for one that is open.
_SCANNED = 16
# Rows, and columns, of what is turned at a time.
_SQUARE = 16
_NO_VALUE, _BARRED = np.float32(np.nan), np.float32(-np.inf)


@compiled
def transpose(block: np.ndarray, turned: np.ndarray) -> None:
    """Fill in the columns of a block float32 (q, c) as rows (c, q), square by square as a cache likes it."""
    rows, columns = block.shape
    for top in range(0, rows, _SQUARE):
        for left in range(0, columns, _SQUARE):
            for row in range(top, min(top + _SQUARE, rows)):
                for column in range(left, min(left + _SQUARE, columns)):
                    turned[column, row] = block[row, column]


@compiled
def bar_alike(block: np.ndarray, codes: np.ndarray, other_codes: np.ndarray, barred: np.ndarray) -> None:
    """Put minus infinity in a block float32 (q, c) where codes (q,) and (c,) are equal; add up how often, int64 (q,).

    Cells that are so already do not count.
    """
    for query in range(len(block)):
        own, code = block[query], codes[query]
        found = np.int32(0)
        for place in range(len(own)):
            alike = other_codes[place] == code
            found += np.int32(alike & (own[place] > _BARRED))
            own[place] = _BARRED if alike else own[place]
        barred[query] += found


@compiled
def count_by_levels(
    ranked: np.ndarray, start: np.ndarray, level: np.ndarray, greater: np.ndarray, equal: np.ndarray
) -> None:
    """Add to the counts (m,) how many of a query's levels are above and at those of its pairs.

    Args:
        ranked: levels of queries, ascending, float32 (q, c).
        start: first pair of each query, and the number of pairs, int64 (q + 1,).
        level: of the pairs, float32 (m,).
        greater: int64 (m,).
        equal: int64 (m,).
    """
    places = np.empty(np.diff(start).max(), dtype=np.int64)
    for query in range(len(ranked)):
        values, own = ranked[query], level[start[query] : start[query + 1]]
        count_below(values, own, places)
        for pair in range(len(own)):
            upto = behind(values, places[pair], own[pair])
            greater[start[query] + pair] += len(values) - upto
            equal[start[query] + pair] += upto - places[pair]


@compiled
def count_by_estimates(
    block: np.ndarray, ranked: np.ndarray, margin: np.float32, units: np.ndarray, rows: np.ndarray, others: np.ndarray,
    absolute: bool, start: np.ndarray, level: np.ndarray, most_open: int, greater: np.ndarray, equal: np.ndarray,
) -> bool:  # fmt: skip
    """``count_by_levels`` where levels are estimates; what these leave open is computed in float64.

    Args:
        block: levels of queries in the rows (q,) and others (c,), off by up to the margin but for what is
            undefined (``UNDEFINED``) or does not count (below that), float32 (q, c).
        ranked: the same, ascending in each row.
        margin: as far as an estimate may be off, in levels.
        units: of all rows, float64 (n, d).
        rows: of the queries.
        others: rows of the candidates.
        absolute: whether magnitudes count.
        start: as above.
        level: as above.
        most_open: cells to compute at most.
        greater: as above.
        equal: as above.

    Returns:
        False where more are open; counts are of no use then.
    """
    exact = np.empty(block.shape[1], dtype=np.float32)
    most = np.diff(start).max()
    bounds, places = np.empty(most, dtype=np.float32), np.empty(most, dtype=np.int64)
    n_open = 0
    for query in range(len(block)):
        values, own = ranked[query], block[query]
        first, last = start[query], start[query + 1]
        lows = bounds[: last - first]
        lows[:] = level[first:last] - margin
        count_below(values, lows, places)
        fresh = True
        for pair in range(first, last):
            low, high = lows[pair - first], level[pair] + margin
            upto = below = places[pair - first]
            while upto < len(values) and values[upto] <= high:
                upto += 1
            greater[pair] += len(values) - upto
            if below == upto:
                continue
            if fresh:
                exact[:] = _NO_VALUE
                fresh = False
            above, at, computed = _decide(
                own, exact, low, high, upto - below, level[pair], units, units[rows[query]], others, absolute
            )
            greater[pair] += above
            equal[pair] += at
            n_open += computed
            if n_open > most_open:
                return False
    return True


@compiled
def _decide(
    own: np.ndarray, exact: np.ndarray, low: np.float32, high: np.float32, n_open: int, level: np.float32,
    units: np.ndarray, unit: np.ndarray, others: np.ndarray, absolute: bool,
) -> tuple[int, int, int]:  # fmt: skip
    """Of the n cells of a query from low to high: how many are above a level, and at it; how many were computed."""
    above = at = computed = first = 0
    while n_open:
        last = min(first + _SCANNED, len(own))
        here = _within(own[first:last], low, high)
        n_open -= here
        for place in range(first, last if here else first):
            if own[place] >= low and own[place] <= high:
                # Windows of several pairs may overlap; a cell is computed once.
                if np.isnan(exact[place]):
                    computed += 1
                    exact[place] = own[place]
                    if own[place] > UNDEFINED:
                        exact[place] = level_of(dot(unit, units[others[place]]), absolute)
                above += exact[place] > level
                at += exact[place] == level
        first = last
    return above, at, computed


@compiled
def _within(values: np.ndarray, low: np.float32, high: np.float32) -> int:
    """How many values are from low to high."""
    found = np.int32(0)
    for place in range(len(values)):
        found += np.int32((values[place] >= low) & (values[place] <= high))
    return int(found)
