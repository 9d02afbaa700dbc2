"""Cosine similarity at a stated resolution, so that a score does not depend on how it was computed.

A matrix product leaves the cosines of identical vectors different in their last bits, which breaks
exact ties at random. Similarities are therefore computed in float64 and rounded to integer
levels: vectors that are equal are tied, whatever the block shape, the threads or the machine.
"""

from __future__ import annotations

import numpy as np

# Levels per unit of similarity: a resolution of 2.4e-7, above float32 rounding of the features and
# a power of two, so that the cosines 0, 0.5 and 1 lie in the middle of a level.
LEVELS = 2**22
RESOLUTION = 1 / LEVELS
# The level of an undefined cosine (a zero vector): below every defined one, the worst rank.
UNDEFINED = -2 * LEVELS
# Dimensions that a product sums at a time: a sum of few has small errors, and a product of few is slow.
PIECE = 128


def levels(cosines: np.ndarray) -> np.ndarray:
    """Cosines rounded to integer levels; float32 holds them exactly and sorts fastest."""
    scaled = np.asarray(cosines * LEVELS)
    return np.rint(scaled, out=scaled).astype(np.float32)


def product_in_pieces(rows: np.ndarray, others: np.ndarray, out: np.ndarray, buffer: np.ndarray) -> None:
    """All products of rows, the dimensions piece by piece and each piece's sum by itself, as ``margin`` supposes.

    Args:
        rows: float32 (r, d).
        others: float32 (o, d).
        out: overwritten, float32 (r, o).
        buffer: overwritten, float32 (r, o).
    """
    np.matmul(rows[:, :PIECE], others[:, :PIECE].T, out=out)
    for first in range(PIECE, rows.shape[1], PIECE):
        piece = slice(first, first + PIECE)
        np.matmul(rows[:, piece], others[:, piece].T, out=buffer)
        out += buffer


def margin(d: int, piece: int = PIECE) -> np.float32:
    """By how many levels a product of ``units.single_rows`` may be off from what ``levels`` says.

    Rounding of both factors, of the products and sums of a piece in whatever order, and of the pieces' sums: each by
    up to 2**-24 of no more than 1 in all (Higham 2002, Accuracy and Stability of Numerical Algorithms, 3.1), and
    a level.

    Args:
        d: dimensions.
        piece: those of a piece; ``d`` where all are summed in an order that is not known.
    """
    pieces = -(-d // max(1, piece))
    return np.float32((min(d, piece) + pieces + 4) * 2.0**-24 * LEVELS + 1)
