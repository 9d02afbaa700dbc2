"""Cosine similarity at a stated resolution, so that a score does not depend on how it was computed.

A matrix product leaves the cosines of identical vectors different in their last bits, which breaks
exact ties at random. Similarities are therefore computed in float64 and rounded to integer
levels: vectors that are equal are tied, whatever the block shape, the threads or the machine.
"""

from __future__ import annotations

import numpy as np

from phenobench.errors import InputError
from phenobench.metrics.threads import in_threads

# Levels per unit of similarity: a resolution of 2.4e-7, above float32 rounding of the features and
# a power of two, so that the cosines 0, 0.5 and 1 lie in the middle of a level.
LEVELS = 2**22
RESOLUTION = 1 / LEVELS
# The level of an undefined cosine (a zero vector): below every defined one, the worst rank.
UNDEFINED = -2 * LEVELS
# Both factors of an estimate carry the square root of the scale: a power of two, so that nothing is rounded.
_SCALE = np.float32(LEVELS**0.5)
# Rows of a task: enough that Python takes no part of the time worth naming.
_ROWS_AT_ONCE = 512


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float64 (n, d); zero rows stay zero.

    Raises:
        InputError: not a matrix, or a value is NaN or infinite.
    """
    given = np.asarray(features)
    if given.ndim != 2:
        raise InputError(f"features have {given.ndim} dimensions; give a matrix with one row a profile")
    rows = np.empty(given.shape)

    def scale(start: int) -> None:
        part = rows[start : start + _ROWS_AT_ONCE]
        part[:] = given[start : start + _ROWS_AT_ONCE]
        if not np.isfinite(part).all():
            row, column = np.argwhere(~np.isfinite(part))[0]
            raise InputError(
                f"feature {column} of row {start + row} is NaN or infinite; remove or impute it before scoring"
            )
        # Scaling by the largest entry first keeps the squares of very large or small values finite.
        largest = np.abs(part).max(axis=1, keepdims=True, initial=0.0)
        np.divide(part, largest, out=part, where=largest > 0)
        length = np.sqrt(np.einsum("ij,ij->i", part, part))[:, None]
        np.divide(part, length, out=part, where=length > 0)

    in_threads(scale, range(0, len(rows), _ROWS_AT_ONCE))
    return rows


def levels(cosines: np.ndarray) -> np.ndarray:
    """Cosines rounded to integer levels; float32 holds them exactly and sorts fastest."""
    scaled = np.asarray(cosines * LEVELS)
    return np.rint(scaled, out=scaled).astype(np.float32)


def single_rows(units: np.ndarray) -> np.ndarray:
    """Unit rows (n, d) in float32, longer by the square root of ``LEVELS``: their products estimate levels."""
    rows = np.empty(units.shape, dtype=np.float32)

    def convert(start: int) -> None:
        part = slice(start, start + _ROWS_AT_ONCE)
        rows[part] = units[part]
        rows[part] *= _SCALE

    in_threads(convert, range(0, len(units), _ROWS_AT_ONCE))
    return rows


def margin(d: int) -> np.float32:
    """By how many levels a product of ``single_rows`` may be off from what ``levels`` says.

    Rounding of both factors and of d products and sums, each by up to 2**-24 of no more than 1 in all,
    whatever their order (Higham 2002, Accuracy and Stability of Numerical Algorithms, 3.1), and a level.
    """
    return np.float32((d + 4) * 2.0**-24 * LEVELS + 1)
