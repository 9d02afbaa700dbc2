"""Cosines of rows at the resolution of ``similarity``, and float32 estimates of them at half the cost.

An estimate says on which side of a level a cosine lies unless it is next to it. Only those few are then
computed in float64, so that a score is that of float64 whatever the estimates were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phenobench.metrics.similarity import LEVELS, RESOLUTION, UNDEFINED, levels, unit_rows

# Rows of features gathered at a time to pair them up; what a core's cache holds.
_PAIRS_AT_ONCE = 256
_ROWS_AT_ONCE = 1024
# Rotating a row costs d products, and so does finding the rotation: from so many times d candidates, and rows, it pays.
_CANDIDATES, _ROWS = 2, 8
_ROUNDING = 2.0**-24


@dataclass(frozen=True, eq=False)
class Cosines:
    """Cosines of n rows.

    Attributes:
        units: rows of length 1, or zero, float64 (n, d).
        rotated: the same in a random basis, float32 (n, d), or (0, d) where estimates do not pay.
        undefined: whether a row is zero and has no cosine, boolean (n,).
        absolute: whether opposite rows are as alike as equal ones.
    """

    units: np.ndarray
    rotated: np.ndarray
    undefined: np.ndarray
    absolute: bool

    @classmethod
    def of(cls, features: np.ndarray, *, n_candidates: int, absolute: bool) -> Cosines:
        """Cosines of the rows of features (n, d), of which a query has so many candidates at most.

        Raises:
            InputError: not a matrix, or a value is NaN or infinite.
        """
        units = unit_rows(features)
        n, d = units.shape
        pays = n_candidates >= _CANDIDATES * d and n >= _ROWS * d
        rotated = _rotated(units) if pays else np.empty((0, d), dtype=np.float32)
        return cls(units, rotated, np.asarray(~units.any(axis=1)), absolute)

    def worth_estimating(self, n_candidates: int) -> bool:
        """Whether estimates and the float64 of what they leave open cost less than float64 for all."""
        return len(self.rotated) > 0 and n_candidates >= _CANDIDATES * self.units.shape[1]

    def levels(self, rows: np.ndarray, others: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Levels of all rows (r,) with all others (o,), of which the units are at hand, float32 (r, o)."""
        return self._finished(levels(self.units[rows] @ units.T), rows, others, UNDEFINED)

    def estimates(self, rows: np.ndarray, others: np.ndarray, rotated: np.ndarray) -> np.ndarray:
        """Cosines in float32, -2 where undefined; otherwise as ``levels``, with the rotated others at hand."""
        return self._finished(self.rotated[rows] @ rotated.T, rows, others, UNDEFINED / LEVELS)

    def _finished(self, block: np.ndarray, rows: np.ndarray, others: np.ndarray, undefined: float) -> np.ndarray:
        if self.absolute:
            np.abs(block, out=block)
        if self.undefined.any():
            block[:, self.undefined[others]] = undefined
            block[self.undefined[rows]] = undefined
        return block

    def estimate_bounds(self, level: np.ndarray) -> np.ndarray:
        """Between what estimates a cosine may be at a level (m,), float32 (m, 2): above the first, up to the second.

        An estimate is off by up to 2**-24 of the partial sum at each of its d additions. In a random basis the sum
        is c k / d after k of them and scatters by less than sqrt(k) / d, which makes a standard deviation of less
        than 2**-24 (0.34 |c| sqrt(d) + 0.6); bounds are more than ten of these from the level's own.
        """
        cosine = level.astype(np.float64) / LEVELS
        off = RESOLUTION / 2 + _ROUNDING * (8.0 + 4.0 * np.sqrt(self.units.shape[1]) * np.abs(cosine))
        return np.stack([cosine - off, cosine + off], axis=1).astype(np.float32)

    def pair_levels(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Levels of rows (m,) with others (m,), float32 (m,)."""
        level = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            level[part] = levels(np.einsum("ij,ij->i", self.units[rows[part]], self.units[others[part]]))
        if self.absolute:
            np.abs(level, out=level)
        level[self.undefined[rows] | self.undefined[others]] = UNDEFINED
        return level


def _rotated(units: np.ndarray) -> np.ndarray:
    """Rows in a random basis, in which the rounding errors of their products are random whatever the features are."""
    d = units.shape[1]
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
    rotated = np.empty(units.shape, dtype=np.float32)
    for start in range(0, len(units), _ROWS_AT_ONCE):
        rotated[start : start + _ROWS_AT_ONCE] = units[start : start + _ROWS_AT_ONCE] @ basis
    return rotated
