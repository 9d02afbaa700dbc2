"""Products in pieces, and by how much they may be off."""

from __future__ import annotations

import numpy as np
import pytest

from phenobench.metrics.similarity import PIECE, margin, product_in_pieces


@pytest.mark.parametrize("d", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_a_product_in_pieces_is_whole(d: int) -> None:
    rng = np.random.default_rng(1)
    rows, others = (rng.integers(-9, 9, (n, d)).astype(np.float32) for n in (20, 30))
    out = np.full((20, 30), np.nan, dtype=np.float32)
    product_in_pieces(rows, others, out, np.full_like(out, np.nan))
    np.testing.assert_array_equal(out, rows @ others.T)


def test_the_margin_of_pieces_is_that_of_their_longest_chain_of_sums() -> None:
    # One piece: as many products and sums as there are dimensions. Several: one piece's, and one for each piece.
    assert margin(64) == margin(64, piece=64) == np.float32((64 + 1 + 4) / 4 + 1)
    assert margin(384) == np.float32((128 + 3 + 4) / 4 + 1) < margin(384, piece=384)
