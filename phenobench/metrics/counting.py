"""How many negatives of a query are above and at each of its positives: blocked, and the same at every block shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phenobench.metrics.cosines import Cosines
from phenobench.metrics.pair_rules import PairRules
from phenobench.metrics.positives import Positives

# Similarities held at a time (4 MiB in float32, of which a core's share of the cache is larger), and to one query.
_BLOCK_CELLS, _WIDTH = 2**20, 2**12
# Rows are as much wider than a query's positives are many, so that looking these up costs less than the product.
_CELLS_A_POSITIVE = 16
# From this share of open comparisons on, a block is faster in float64.
_MOST_OPEN = 2.0**-9


@dataclass(frozen=True, eq=False)
class Counts:
    """Negatives above and at the level of positive pairs, int64 (m,), and of each query in all, int64 (q,)."""

    greater: np.ndarray
    equal: np.ndarray
    negatives: np.ndarray


def count_negatives(
    cosines: Cosines, rules: PairRules, rows: np.ndarray, pairs: Positives, candidates: np.ndarray
) -> Counts:
    """Count the negatives of queries that are in the rows (q,) and share their candidates (c,), ascending rows.

    Block by block, the similarities of queries and candidates are sorted and the positives looked up in them.
    """
    count = _Count(cosines, rules, rows, pairs, candidates)
    most = int(np.diff(pairs.start).max(initial=0))
    width = min(len(candidates), max(_WIDTH, _CELLS_A_POSITIVE * most))
    height = max(1, _BLOCK_CELLS // max(1, width))
    for left in range(0, len(candidates), width):
        count.add(left, min(left + width, len(candidates)), height)
    return count.finished()


class _Count:
    """Counts so far, and the comparisons that estimates have left open."""

    def __init__(
        self, cosines: Cosines, rules: PairRules, rows: np.ndarray, pairs: Positives, candidates: np.ndarray
    ) -> None:
        self.cosines, self.rules, self.rows, self.pairs, self.candidates = cosines, rules, rows, pairs, candidates
        self.greater, self.equal = np.zeros((2, len(pairs.query)), dtype=np.int64)
        self.negatives = np.zeros(len(rows), dtype=np.int64)
        self.overlap = None if rules.positives_differ else _overlap(rows, pairs, candidates)
        # A level is at or below the first of these if it is below the pair's, at or below the second unless above.
        self.level_bounds = np.stack([np.nextafter(pairs.level, np.float32(-np.inf)), pairs.level], axis=1)
        self.estimate_bounds = cosines.estimate_bounds(pairs.level)
        self.estimating = cosines.worth_estimating(len(candidates))
        self.open: list[tuple[int, np.ndarray]] = []

    def add(self, left: int, right: int, height: int) -> None:
        """Count candidates in these places for all queries, so many queries at a time."""
        others = self.candidates[left:right]
        rotated = self.cosines.rotated[others] if self.estimating else self.cosines.rotated
        units = None
        for top in range(0, len(self.rows), height):
            rows = self.rows[top : top + height]
            barred = self._barred(top, len(rows), left, others)
            self.negatives[top : top + height] += len(others) - np.count_nonzero(barred, axis=1)
            if self.estimating:
                block = self.cosines.estimates(rows, others, rotated)
                block[barred] = -np.inf
                self.estimating = self.add_estimates(block, top, others)
                if self.estimating:
                    continue
            units = self.cosines.units[others] if units is None else units
            block = self.cosines.levels(rows, others, units)
            block[barred] = -np.inf
            self.add_levels(block, top)

    def _barred(self, top: int, n_queries: int, left: int, others: np.ndarray) -> np.ndarray:
        """Whether others, candidates from place ``left`` on, are no negatives of the queries from ``top`` on."""
        barred = self.rules.no_negatives(self.rows[top : top + n_queries], others)
        if self.overlap is not None:
            query, place = self.overlap
            here = (query >= top) & (query < top + n_queries) & (place >= left) & (place < left + len(others))
            barred[query[here] - top, place[here] - left] = True
        return barred

    def add_levels(self, block: np.ndarray, top: int) -> None:
        """Count by levels (r, c) of the queries from ``top`` on."""
        mine, start = self._pairs(block, top)
        block.sort(axis=1)
        below, upto = _looked_up(block, self.level_bounds[mine], start)
        self.greater[mine] += block.shape[1] - upto
        self.equal[mine] += upto - below

    def add_estimates(self, block: np.ndarray, top: int, others: np.ndarray) -> bool:
        """Count what estimates decide and note what they leave open; False, and nothing, if that is too much."""
        mine, start = self._pairs(block, top)
        bounds = self.estimate_bounds[mine]
        below, upto = _looked_up(np.sort(block, axis=1), bounds, start)
        n_open = upto - below
        if n_open.sum() > _MOST_OPEN * block.size:
            return False
        self.greater[mine] += block.shape[1] - upto
        pairs = np.flatnonzero(n_open)
        lines = self.pairs.query[mine][pairs] - top
        for pair, line, (low, high) in zip(pairs.tolist(), lines.tolist(), bounds[pairs].tolist(), strict=True):
            values = block[line]
            self.open.append((mine.start + pair, others[((values > low) & (values <= high)).nonzero()]))
        return True

    def _pairs(self, block: np.ndarray, top: int) -> tuple[slice, np.ndarray]:
        start = self.pairs.start[top : top + len(block) + 1]
        return slice(int(start[0]), int(start[-1])), start - start[0]

    def finished(self) -> Counts:
        """Decide what is open in float64."""
        if self.open:
            pair = np.repeat([pair for pair, _ in self.open], [len(others) for _, others in self.open])
            other = np.concatenate([others for _, others in self.open])
            level = self.cosines.pair_levels(self.rows[self.pairs.query[pair]], other)
            n = len(self.greater)
            self.greater += np.bincount(pair[level > self.pairs.level[pair]], minlength=n)
            self.equal += np.bincount(pair[level == self.pairs.level[pair]], minlength=n)
        return Counts(self.greater, self.equal, self.negatives)


def _overlap(rows: np.ndarray, pairs: Positives, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives among the candidates, and the query itself: (query's number, place among the candidates)."""
    query = np.concatenate([pairs.query, np.arange(len(rows))])
    other = np.concatenate([pairs.other, rows])
    place = np.minimum(candidates.searchsorted(other), len(candidates) - 1)
    found = candidates[place] == other
    return query[found], place[found]


def _looked_up(ranked: np.ndarray, bounds: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of the ascending rows' values are at or below each of the two bounds (m, 2) of the rows' pairs."""
    found = np.empty(bounds.size, dtype=np.int64)
    flat = bounds.ravel()
    # A row's few bounds are found in it while it is in the cache: faster than all rows' in one long array.
    ends = (2 * start).tolist()
    for line, begin, end in zip(ranked, ends[:-1], ends[1:], strict=True):
        found[begin:end] = line.searchsorted(flat[begin:end], "right")
    return found[0::2], found[1::2]
