"""Compiled searches, against numpy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from phenobench.metrics.loops.search import behind, count_below

LEVELS = st.integers(-20, 20)


@given(values=st.lists(LEVELS, max_size=70), bounds=st.lists(LEVELS, max_size=9))
def test_bounds_are_found_where_numpy_finds_them(values: list[int], bounds: list[int]) -> None:
    ranked, wanted = np.sort(np.array(values, dtype=np.float32)), np.array(bounds, dtype=np.float32)
    counts = np.full(len(bounds) + 1, 7)
    count_below(ranked, wanted, counts)
    np.testing.assert_array_equal(counts[:-1], ranked.searchsorted(wanted))
    assert counts[-1] == 7
    upto = [behind(ranked, int(n), level) for n, level in zip(counts[:-1], wanted, strict=True)]
    np.testing.assert_array_equal(upto, ranked.searchsorted(wanted, "right"))
