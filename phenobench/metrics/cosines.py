"""Cosines of rows at the resolution of ``similarity``, and float32 estimates of them at half the cost.

An estimate says on which side of a level a cosine lies unless it is next to it. Only those few are then
computed in float64, so that a score is that of float64 whatever the estimates were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phenobench.metrics.loops import pairs
from phenobench.metrics.similarity import UNDEFINED, levels, margin, product_in_pieces
from phenobench.metrics.threads import in_threads
from phenobench.metrics.units import single_rows, unit_rows

# Pairs of one task; products of two rows are no more than some bytes of Python's time then.
_PAIRS_AT_ONCE = 2**14


@dataclass(frozen=True, eq=False)
class Cosines:
    """Cosines of n rows.

    Attributes:
        units: rows of length 1, or zero, float64 (n, d).
        single: the same in float32, longer by the square root of ``LEVELS``.
        undefined: whether a row is zero and has no cosine, boolean (n,).
        absolute: whether opposite rows are as alike as equal ones.
    """

    units: np.ndarray
    single: np.ndarray
    undefined: np.ndarray
    absolute: bool

    @classmethod
    def of(cls, features: np.ndarray, *, absolute: bool) -> Cosines:
        """Cosines of the rows of features (n, d).

        Raises:
            InputError: not a matrix, or a value is NaN or infinite.
        """
        units = unit_rows(features)
        single = single_rows(units)
        return cls(units, single, np.asarray(~single.any(axis=1)), absolute)

    @property
    def margin(self) -> np.float32:
        """By how many levels an estimate may be off."""
        return margin(self.units.shape[1])

    def levels(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Levels of all rows (r,) with all others (o,), float32 (r, o)."""
        block = levels(self.units[rows] @ self.units[others].T)
        self._finish(block, rows, others)
        return block

    def single_rows(self, rows: np.ndarray) -> np.ndarray:
        """``single`` of rows (m,), float32 (m, d); those that follow each other are not copied."""
        if len(rows) and (np.diff(rows) == 1).all():
            return self.single[rows[0] : rows[-1] + 1]
        return self.single[rows]

    def estimates(self, rows: np.ndarray, others: np.ndarray, out: np.ndarray, buffer: np.ndarray) -> None:
        """``levels`` but for the margin, into ``out``; the buffer, which is like it, is overwritten, too."""
        product_in_pieces(self.single_rows(rows), self.single_rows(others), out, buffer)
        self._finish(out, rows, others)

    def _finish(self, block: np.ndarray, rows: np.ndarray, others: np.ndarray) -> None:
        if self.absolute:
            np.abs(block, out=block)
        if self.undefined.any():
            block[:, self.undefined[others]] = UNDEFINED
            block[self.undefined[rows]] = UNDEFINED

    def pair_levels(self, rows: np.ndarray, start: np.ndarray, others: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Levels of queries with their others, each query's in order, the highest first.

        Args:
            rows: of the queries (q,).
            start: first pair of each query, and the number of pairs (q + 1,).
            others: rows of the pairs (m,), put in that order, too.
            order: the queries (q,), those with much the same others next to each other, as a cache likes it.

        Returns:
            float32 (m,).
        """
        level = np.empty(len(others), dtype=np.float32)
        step = max(1, _PAIRS_AT_ONCE * len(rows) // max(1, len(others)))

        def fill(first: int) -> None:
            some = order[first : first + step]
            pairs.pair_levels(self.units, self.units, self.absolute, some, rows, start, others, level)

        in_threads(fill, range(0, len(rows), step))
        return level
