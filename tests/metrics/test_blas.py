"""Products that add to what is there, against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from phenobench.metrics.blas import product
from phenobench.metrics.similarity import PIECE, margin, product_in_pieces


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize(("r", "o", "d"), [(1, 1, 1), (7, 3, 5), (3, 300, 128), (1, 40, 0)])
def test_products_are_those_of_numpy(r: int, o: int, d: int, add: bool) -> None:
    rng = np.random.default_rng(0)
    # Whole numbers, so that nothing is rounded.
    rows, others = (rng.integers(-9, 9, (n, d + 4)).astype(np.float32)[:, 2 : 2 + d] for n in (r, o))
    there = rng.integers(-9, 9, (r, o)).astype(np.float32)
    out = there.copy()
    product(rows, others, out, add=add)
    np.testing.assert_array_equal(out, rows @ others.T + add * there)


@pytest.mark.parametrize("d", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_a_product_in_pieces_is_whole(d: int) -> None:
    rng = np.random.default_rng(1)
    rows, others = (rng.integers(-9, 9, (n, d)).astype(np.float32) for n in (20, 30))
    out = np.full((20, 30), np.nan, dtype=np.float32)
    product_in_pieces(rows, others, out)
    np.testing.assert_array_equal(out, rows @ others.T)


def test_the_margin_of_pieces_is_that_of_their_longest_chain_of_sums() -> None:
    # One piece: as many products and sums as there are dimensions. Several: one piece's, and one for each piece.
    assert margin(64) == margin(64, piece=64) == np.float32((64 + 1 + 4) / 4 + 1)
    assert margin(384) == np.float32((96 + 4 + 4) / 4 + 1) < margin(384, piece=384)
