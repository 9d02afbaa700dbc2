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

from phenobench.metrics import average_precision, cosines, counting, ranking
from phenobench.metrics.cosines import Cosines
from phenobench.metrics.similarity import LEVELS, UNDEFINED, levels, unit_rows
from phenobench.metrics.threads import in_threads

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


def exhaustively(patch: pytest.MonkeyPatch) -> None:
    """Estimate always, and decide one by one whatever is left open."""
    patch.setattr(cosines, "_CANDIDATES", 0)
    patch.setattr(cosines, "_ROWS", 0)
    patch.setattr(counting, "_MOST_OPEN", np.inf)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(6, 40), st.sampled_from([1, 2, 7, 50]), st.integers(1, 50))
def test_near_ties_are_decided_as_in_float64(seed: int, n: int, d: int, cells: int) -> None:
    features = near_ties(seed, n, d)
    groups = np.random.default_rng(seed + 1).integers(0, 5, n)
    metadata = pd.DataFrame({"pert": groups})
    wanted = by_hand(features, groups)
    order = np.random.default_rng(seed + 2).permutation(n)
    with pytest.MonkeyPatch.context() as patch:
        exhaustively(patch)
        got = average_precision(features, metadata, **RULES)
        np.testing.assert_allclose(got["average_precision"], wanted, atol=1e-12)
        patch.setattr(counting, "_WIDTH", cells)
        patch.setattr(counting, "_CELLS_A_POSITIVE", 1)
        patch.setattr(ranking, "_TASK_QUERIES", cells)
        blocked = average_precision(features[order], metadata.iloc[order], **RULES)
    pd.testing.assert_frame_equal(blocked.sort_index(), got, check_exact=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosines, "_CANDIDATES", np.inf)
        exact = average_precision(features, metadata, **RULES)
    pd.testing.assert_frame_equal(exact, got, check_exact=True)


@pytest.mark.parametrize("similarity", ["cosine", "abs_cosine"])
def test_estimates_may_be_off_by_their_margin(similarity: ranking.Similarity, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    features = np.concatenate([near_ties(3, 150, 20), rng.standard_normal((150, 20))])
    metadata = pd.DataFrame({"pert": rng.integers(0, 40, 300)})
    exhaustively(monkeypatch)
    wanted = average_precision(features, metadata, **RULES, similarity=similarity)
    estimates = Cosines.estimates

    def off(self: Cosines, rows: np.ndarray, others: np.ndarray, rotated: np.ndarray) -> np.ndarray:
        block = estimates(self, rows, others, rotated)
        # Seven times 2**-24 are within the margin at any cosine, and many times an estimate's own error.
        block[block > -2] += np.float32(2.0**-24) * rng.integers(-7, 8, block.shape)[block > -2].astype(np.float32)
        return block

    monkeypatch.setattr(Cosines, "estimates", off)
    pd.testing.assert_frame_equal(
        average_precision(features, metadata, **RULES, similarity=similarity), wanted, check_exact=True
    )


@pytest.mark.parametrize("d", [1, 3, 64, 800])
@pytest.mark.parametrize("kind", ["constant", "noise", "shifted", "one large", "binary"])
def test_estimates_are_well_within_their_margin(kind: str, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosines, "_ROWS", 0)
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((400, d))
    features = {
        "constant": np.ones((400, d)) * rng.lognormal(size=(400, 1)),
        "noise": noise,
        "shifted": noise + 3,
        "one large": noise + 30 * np.eye(1, d),
        "binary": np.sign(noise) + 1e-3,
    }[kind]
    found = Cosines.of(features, n_candidates=10**6, absolute=False)
    rows = np.arange(400)
    exact = found.units @ found.units.T
    error = np.abs(found.estimates(rows, rows, found.rotated) - exact)
    low, high = found.estimate_bounds((exact * LEVELS).astype(np.float32).ravel()).astype(np.float64).T
    margin = (high - low - 1 / LEVELS) / 2
    assert (error.ravel() < 0.6 * margin).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    features = near_ties(5, 500, 16).astype(np.float32)
    metadata = pd.DataFrame({"pert": rng.integers(0, 60, 500)})
    wanted = average_precision(features, metadata, **RULES)
    monkeypatch.setattr(ranking, "_TASK_QUERIES", 40)
    monkeypatch.setattr("phenobench.metrics.threads._blas_threads", lambda: threads)
    pd.testing.assert_frame_equal(average_precision(features, metadata, **RULES), wanted, check_exact=True)


def test_results_are_in_the_order_of_tasks_and_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenobench.metrics.threads._blas_threads", lambda: 4)
    assert in_threads(lambda task: task**2, range(50)) == [task**2 for task in range(50)]
    with threadpool_limits(1), pytest.raises(ZeroDivisionError):
        in_threads(lambda task: 1 // task, [1, 0])
