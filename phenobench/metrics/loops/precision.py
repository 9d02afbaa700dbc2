"""Average precision, ties by their expectation."""

from __future__ import annotations

import numpy as np

from phenobench.compiled import compiled, compiled_to_the_bit
from phenobench.metrics.loops.search import behind, count_below


@compiled_to_the_bit
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


@compiled
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
    positives = np.flatnonzero(positive)
    bars, n_below = np.empty(len(positives), dtype=np.float32), np.empty(len(positives), dtype=np.int64)
    for number in range(len(rows)):
        row = level[rows[number]]
        candidates = ranked[rows[number]]
        own = columns[number]
        for item in range(len(positives)):
            bars[item] = row[own[positives[item]]]
        count_below(candidates, bars, n_below)
        total = 0.0
        for item in range(len(positives)):
            bar = bars[item]
            upto = behind(candidates, n_below[item], bar)
            greater, equal = len(candidates) - upto, upto - n_below[item]
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
        precision[number] = total / len(positives)
