"""Rows of length 1, whose products are cosines."""

from __future__ import annotations

import numpy as np

from phenobench.errors import InputError
from phenobench.metrics.loops.pairs import scale_rows
from phenobench.metrics.similarity import LEVELS
from phenobench.metrics.threads import in_threads

# Both factors of an estimate carry the square root of the scale: a power of two, so that nothing is rounded.
_SCALE = np.float32(LEVELS**0.5)
# Rows of a task, and those of them that a core's cache holds.
_ROWS, _CACHED_ROWS = 1024, 128


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float64 (n, d); zero rows stay zero.

    Raises:
        InputError: not a matrix, or a value is NaN or infinite.
    """
    given = np.asarray(features)
    if given.ndim != 2:
        raise InputError(f"features have {given.ndim} dimensions; give a matrix with one row a profile")
    rows = np.empty(given.shape)

    def scale(some: range) -> None:
        for start in some:
            part = rows[start : start + _CACHED_ROWS]
            part[:] = given[start : start + _CACHED_ROWS]
            row = scale_rows(part)
            if row < len(part):
                column = np.flatnonzero(~np.isfinite(part[row]))[0]
                raise InputError(
                    f"feature {column} of row {start + row} is NaN or infinite; remove or impute it before scoring"
                )

    in_threads(scale, _tasks(len(rows)))
    return rows


def single_rows(units: np.ndarray) -> np.ndarray:
    """Unit rows (n, d) in float32, longer by the square root of ``LEVELS``: their products estimate levels."""
    rows = np.empty(units.shape, dtype=np.float32)

    def convert(some: range) -> None:
        for start in some:
            part = slice(start, start + _CACHED_ROWS)
            rows[part] = units[part]
            rows[part] *= _SCALE

    in_threads(convert, _tasks(len(units)))
    return rows


def _tasks(n: int) -> list[range]:
    """First rows of what is done at a time, by task."""
    return [range(first, min(first + _ROWS, n), _CACHED_ROWS) for first in range(0, n, _ROWS)]
