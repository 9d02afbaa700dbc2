"""Estimates in float32 decide nothing that float64 would not, and threads, blocks and order nothing at all."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from phenobench.metrics import average_precision, counting, ranking
from phenobench.metrics.cosines import Cosines
from phenobench.metrics.similarity import LEVELS, UNDEFINED, levels
from phenobench.metrics.threads import in_threads
from phenobench.metrics.units import unit_rows

RULES: Any = {"pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["pert"]}


def by_hand(features: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Expected average precision of each row, in fractions, from the levels of all pairs in float64."""
    units = unit_rows(features)
    level = levels(units @ units.T)
    zero = ~units.any(axis=1)
    level[zero] = level[:, zero] = UNDEFINED
    found = []
    for row, own in enumerate(level):
        positive = (groups == groups[row]) & (np.arange(len(groups)) != row)
        negative = groups != groups[row]
        above, rank, total = 0, 0, Fraction(0)
        for value in np.unique(own[positive | negative])[::-1]:
            p, q = int((positive & (own == value)).sum()), int((negative & (own == value)).sum())
            for place in range(1, p + q + 1):
                before = Fraction((place - 1) * (p - 1), p + q - 1) if p + q > 1 else Fraction(0)
                total += Fraction(p, p + q) * (above + 1 + before) / (rank + place)
            above, rank = above + p, rank + p + q
        found.append(float(total / int(positive.sum())) if positive.any() and negative.any() else np.nan)
    return np.array(found)


def near_ties(seed: int, n: int, d: int) -> np.ndarray:
    """Few directions, repeated with steps about the resolution, the rounding of float32 and that of float64."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((4, d))
    step = rng.choice([0.0, 1e-15, 2.0**-24, 1e-7, 2.0**-23, 2.0**-22, 1e-6, 1e-3], (n, 1))
    rows = basis[rng.integers(0, 4, n)] + step * rng.standard_normal((n, d))
    rows[rng.random(n) < 0.05] = 0
    return rows


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(6, 40), st.sampled_from([1, 2, 7, 50]), st.integers(1, 50))
def test_near_ties_are_decided_as_in_float64(seed: int, n: int, d: int, cells: int) -> None:
    features = near_ties(seed, n, d)
    groups = np.random.default_rng(seed + 1).integers(0, 5, n)
    metadata = pd.DataFrame({"pert": groups})
    wanted = by_hand(features, groups)
    order = np.random.default_rng(seed + 2).permutation(n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_MOST_OPEN", 10**6)
        got = average_precision(features, metadata, **RULES)
        np.testing.assert_allclose(got["average_precision"], wanted, atol=1e-12)
        patch.setattr(counting, "_TILE", cells)
        for cells_a_positive in (0, 1):
            # Without room for the positives a tile is looked up from both sides.
            patch.setattr(counting, "_CELLS_A_POSITIVE", cells_a_positive)
            tiled = average_precision(features[order], metadata.iloc[order], **RULES)
            pd.testing.assert_frame_equal(tiled.sort_index(), got, check_exact=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_MOST_OPEN", 0)
        exact = average_precision(features, metadata, **RULES)
    pd.testing.assert_frame_equal(exact, got, check_exact=True)


@pytest.mark.parametrize("tile", [512, 64])
@pytest.mark.parametrize("similarity", ["cosine", "abs_cosine"])
def test_estimates_may_be_off_by_their_margin(
    similarity: ranking.Similarity, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    features = np.concatenate([near_ties(3, 150, 20), rng.standard_normal((150, 20))])
    metadata = pd.DataFrame({"pert": rng.integers(0, 40, 300)})
    monkeypatch.setattr(counting, "_MOST_OPEN", 10**6)
    monkeypatch.setattr(counting, "_TILE", tile)
    monkeypatch.setattr(counting, "_CELLS_A_POSITIVE", 1)
    wanted = average_precision(features, metadata, **RULES, similarity=similarity)
    estimates = Cosines.estimates

    def off(self: Cosines, rows: Any, others: Any, out: np.ndarray, buffer: np.ndarray) -> None:
        estimates(self, rows, others, out, buffer)
        defined = out > UNDEFINED
        # An estimate's own error is far less than the level that is left of the margin.
        out[defined] += (rng.uniform(-1, 1, out.shape) * (self.margin - 1)).astype(np.float32)[defined]

    monkeypatch.setattr(Cosines, "estimates", off)
    pd.testing.assert_frame_equal(
        average_precision(features, metadata, **RULES, similarity=similarity), wanted, check_exact=True
    )


@pytest.mark.parametrize("d", [1, 3, 64, 800])
@pytest.mark.parametrize("kind", ["constant", "noise", "shifted", "one large", "binary"])
def test_estimates_are_well_within_their_margin(kind: str, d: int) -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((400, d))
    features = {
        "constant": np.ones((400, d)) * rng.lognormal(size=(400, 1)),
        "noise": noise,
        "shifted": noise + 3,
        "one large": noise + 30 * np.eye(1, d),
        "binary": np.sign(noise) + 1e-3,
    }[kind]
    found = Cosines.of(features, absolute=False)
    rows = np.arange(400)
    block = np.empty((400, 400), dtype=np.float32)
    found.estimates(rows, rows, block, np.empty_like(block))
    # A level is as far from its cosine as half of one.
    assert np.abs(block - found.units @ found.units.T * LEVELS).max() < 0.6 * (found.margin - 0.5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    features = near_ties(5, 500, 16).astype(np.float32)
    metadata = pd.DataFrame({"pert": rng.integers(0, 60, 500)})
    wanted = average_precision(features, metadata, **RULES)
    monkeypatch.setattr(counting, "_TILE", 40)
    monkeypatch.setattr(counting, "_CELLS_A_POSITIVE", 0)
    monkeypatch.setattr("phenobench.metrics.threads._blas_threads", lambda: threads)
    pd.testing.assert_frame_equal(average_precision(features, metadata, **RULES), wanted, check_exact=True)


def test_results_are_in_the_order_of_tasks_and_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenobench.metrics.threads._blas_threads", lambda: 4)
    assert in_threads(lambda task: task**2, range(50)) == [task**2 for task in range(50)]
    with threadpool_limits(1), pytest.raises(ZeroDivisionError):
        in_threads(lambda task: 1 // task, [1, 0])
