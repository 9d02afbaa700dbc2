"""Loops over the cells of a product while a core's cache holds it, compiled by numba, without Python's lock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from phenobench.metrics.similarity import LEVELS, UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound=Callable[..., Any])

    def _compiled(function: F) -> F: ...

    def _compiled_to_the_bit(function: F) -> F: ...

else:
    import numba

    def _compiled_to_the_bit(function, fastmath=False):
        options = {"nogil": True, "fastmath": fastmath}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            # There is no folder that compiled code could be kept in.
            return numba.njit(**options)(function)

    # Sums may be taken in vectors; nothing else about numbers changes, NaN and infinities least.
    _compiled = partial(_compiled_to_the_bit, fastmath={"reassoc", "contract"})


# Cells looked at at once, in vectors, for one that is open.
_SCANNED = 16
# Rows, and columns, of what is turned at a time.
_SQUARE = 16
# So few are sorted one by one.
_INSERTED = 48
# So many ties are met one by one, and more are searched for.
_STEPPED = 8
_NO_VALUE, _BARRED = np.float32(np.nan), np.float32(-np.inf)


@_compiled
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


@_compiled
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


@_compiled
def dot(one: np.ndarray, other: np.ndarray) -> float:
    """Product of two rows float64 (d,)."""
    total = 0.0
    for place in range(len(one)):
        total += one[place] * other[place]
    return total


@_compiled
def level_of(cosine: float, absolute: bool) -> np.float32:
    """A cosine in float64 as ``similarity.levels`` rounds it, or its magnitude."""
    level = np.float32(np.rint(cosine * LEVELS))
    return abs(level) if absolute else level


@_compiled
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


@_compiled
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


@_compiled
def transpose(block: np.ndarray, turned: np.ndarray) -> None:
    """Fill in the columns of a block float32 (q, c) as rows (c, q), square by square as a cache likes it."""
    rows, columns = block.shape
    for top in range(0, rows, _SQUARE):
        for left in range(0, columns, _SQUARE):
            for row in range(top, min(top + _SQUARE, rows)):
                for column in range(left, min(left + _SQUARE, columns)):
                    turned[column, row] = block[row, column]


@_compiled
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


@_compiled
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
        _count_below(values, own, places)
        for pair in range(len(own)):
            upto = _behind(values, places[pair], own[pair])
            greater[start[query] + pair] += len(values) - upto
            equal[start[query] + pair] += upto - places[pair]


@_compiled
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
        _count_below(values, lows, places)
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


@_compiled
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


@_compiled_to_the_bit
def expected_precision(
    start: np.ndarray, level: np.ndarray, greater: np.ndarray, equal: np.ndarray, numbers: np.ndarray,
    precision: np.ndarray,
) -> None:  # fmt: skip
    """Fill in the average precision of queries (q,), ties by their expectation (``ties.precision_in_block``).

    Args:
        start: first pair of each query, and the number of pairs (q + 1,).
        level: of the pairs, in a query the highest first, float32 (m,).
        greater: negatives above that level, int64 (m,).
        equal: negatives at that level, int64 (m,).
        numbers: harmonic numbers.
        precision: float64 (q,); queries without pairs are left as they are.
    """
    for query in range(len(precision)):
        first, last = start[query], start[query + 1]
        total, pair = 0.0, first
        while pair < last:
            end = pair + 1
            while end < last and level[end] == level[pair]:
                end += 1
            above, positives = pair - first, end - pair
            size, rank = positives + equal[pair], above + greater[pair]
            slope = (positives - 1.0) / (size - 1.0) if size > 1 else 0.0
            tail = numbers[rank + size] - numbers[rank]
            total += positives / size * (slope * size + (above + 1.0 - slope * (rank + 1.0)) * tail)
            pair = end
        if last > first:
            precision[query] = total / (last - first)


@_compiled
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


@_compiled
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


@_compiled
def add_up(places: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """Count places int32 (m,) in counts uint32; the lowest place, and the one behind the highest."""
    low, high = np.int32(len(counts)), np.int32(-1)
    for item in range(len(places)):
        low, high = min(low, places[item]), max(high, places[item])
    for item in range(len(places)):
        counts[np.uint32(places[item])] += np.uint32(1)
    return int(low), int(high) + 1


@_compiled
def precision_of_sets(
    level: np.ndarray, ranked: np.ndarray, rows: np.ndarray, columns: np.ndarray, positive: np.ndarray,
    competes: np.ndarray, added: np.ndarray, numbers: np.ndarray, precision: np.ndarray,
) -> None:  # fmt: skip
    """Fill in the average precision of one well of each of some sets, ties by their expectation.

    The candidates are the ranked ones and the set's positives; but wells of the set that compete are no
    negatives, and for each of them one of the added is.

    Args:
        level: levels of some wells with others, float32 (b, o).
        ranked: those with the candidates, ascending, float32 (b, c).
        rows: of the sets' wells in ``level`` (s,).
        columns: of all wells of the sets in ``level`` (s, k).
        positive: which of the k are positives of the well, boolean (k,).
        competes: which of the k are among the ranked, boolean (k,).
        added: columns of candidates besides the ranked (k,), or (0,).
        numbers: harmonic numbers.
        precision: float64 (s,).
    """
    n_positive = int(positive.sum())
    for number in range(len(rows)):
        row = level[rows[number]]
        candidates = ranked[rows[number]]
        own = columns[number]
        total = 0.0
        for place in range(len(own)):
            if not positive[place]:
                continue
            bar = row[own[place]]
            below = _below(candidates, bar)
            upto = _behind(candidates, below, bar)
            greater, equal = len(candidates) - upto, upto - below
            above, tied = 0, 0
            for other in range(len(own)):
                value = row[own[other]]
                if competes[other]:
                    greater -= value > bar
                    equal -= value == bar
                    if len(added):
                        greater += row[added[other]] > bar
                        equal += row[added[other]] == bar
                if positive[other]:
                    above += value > bar
                    tied += value == bar
            # Each of tied positives takes an equal part of what ``ties.precision_in_block`` has for all.
            size, rank = tied + equal, above + greater
            slope = (tied - 1.0) / (size - 1.0) if size > 1 else 0.0
            tail = numbers[rank + size] - numbers[rank]
            total += (slope * size + (above + 1.0 - slope * (rank + 1.0)) * tail) / size
        precision[number] = total / n_positive


@_compiled
def _count_below(values: np.ndarray, bounds: np.ndarray, counts: np.ndarray) -> None:
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


@_compiled
def _below(values: np.ndarray, bound: np.float32) -> int:
    """How many of the ascending values are below a bound."""
    first, count = 0, len(values)
    # Always as many steps: nothing for a processor to guess wrong.
    while count > 1:
        half = count >> 1
        first += half if values[first + half - 1] < bound else 0
        count -= half
    return first + (1 if count and values[first] < bound else 0)


@_compiled
def _behind(levels: np.ndarray, below: int, level: np.float32) -> int:
    """How many of the ascending levels are up to one, given how many are below it."""
    upto = below
    while upto < len(levels) and levels[upto] == level:
        upto += 1
        if upto == below + _STEPPED:
            return _below(levels, level + np.float32(1.0))
    return upto


@_compiled
def _within(values: np.ndarray, low: np.float32, high: np.float32) -> int:
    """How many values are from low to high."""
    found = np.int32(0)
    for place in range(len(values)):
        found += np.int32((values[place] >= low) & (values[place] <= high))
    return int(found)
