from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phenobench.errors import InputError
from phenobench.metrics.significance import (
    average_precision_null,
    average_precision_p_values,
    benjamini_hochberg,
    distinct_positions,
    holm,
)
from phenobench.metrics.ties import expected_average_precision
from tests.shared import shared

GOLDENS = Path(__file__).parents[1] / "goldens"


# The null of average precision


@pytest.mark.parametrize(("n_positive", "n_total"), [(1, 4), (2, 7), (3, 8), (5, 8), (7, 8)])
def test_the_null_agrees_with_enumeration_within_monte_carlo_error(n_positive: int, n_total: int) -> None:
    ranks = np.array(list(combinations(range(1, n_total + 1), n_positive)))
    exact = np.round((np.arange(1, n_positive + 1) / ranks).mean(axis=1), 9)
    values, counts = np.unique(exact, return_counts=True)
    null = average_precision_null(n_positive, n_total, 20_000, seed=1)
    observed = (np.round(null, 9)[:, None] == values).sum(axis=0)
    assert observed.sum() == 20_000
    assert stats.chisquare(observed, counts / counts.sum() * 20_000).pvalue > 1e-4


@pytest.mark.parametrize(("n_positive", "n_total"), [(5, 384), (60, 100), (300, 400), (40, 9000)])
def test_the_null_has_the_exact_mean(n_positive: int, n_total: int) -> None:
    null = average_precision_null(n_positive, n_total)
    (expected,) = expected_average_precision(np.array([n_positive]), np.array([n_total]))
    assert abs(null.mean() - expected) < 4 * null.std() / np.sqrt(len(null))


def test_positions_are_distinct_and_uniform() -> None:
    positions = distinct_positions(np.random.default_rng(2), 30_000, 3, 6)
    assert (np.diff(np.sort(positions, axis=1), axis=1) > 0).all()
    counts = np.unique(np.sort(positions, axis=1), axis=0, return_counts=True)[1]
    assert len(counts) == 20
    assert stats.chisquare(counts).pvalue > 1e-4


def test_the_null_depends_on_seed_and_counts_alone() -> None:
    alone = average_precision_p_values(np.array([0.3]), np.array([2]), np.array([20]), seed=4)
    among = average_precision_p_values(np.array([0.9, 0.3]), np.array([3, 2]), np.array([9, 20]), seed=4)
    assert among[1] == alone[0]
    other = average_precision_null(2, 20, seed=5)
    assert not np.array_equal(other, average_precision_null(2, 20, seed=4))


def test_p_values_of_queries_agree_with_copairs() -> None:
    with np.load(GOLDENS / "copairs_a1_plate_neg.npz") as golden:
        arguments = (golden["average_precision"], golden["n_pos_pairs"], golden["n_total_pairs"])
        theirs = golden["ap_p_value"]
    ours = average_precision_p_values(*arguments)
    error = np.sqrt(ours * (1 - ours) * (1 / 2_000 + 1 / 10_000))
    assert (np.abs(ours - theirs) < 4.5 * error + 1 / 2_000).all()


def test_the_null_agrees_with_that_of_copairs() -> None:
    with np.load(shared("goldens", "copairs_null.npz")) as golden:
        confs, nulls = golden["confs"], golden["null"]
    for (n_positive, n_total), null in zip(confs.tolist(), nulls, strict=True):
        assert stats.ks_2samp(null, average_precision_null(n_positive, n_total)).pvalue > 1e-3


def test_a_query_without_positives_or_negatives_has_no_p_value() -> None:
    p = average_precision_p_values(np.array([np.nan, np.nan, 1.0]), np.array([0, 4, 1]), np.array([9, 4, 9]))
    assert np.isnan(p).tolist() == [True, True, False]
    with pytest.raises(InputError, match="both sorts"):
        average_precision_null(4, 4)


def test_rounding_does_not_decide_what_is_at_least_as_large() -> None:
    null = average_precision_null(2, 6, 1_000)
    up, down = (average_precision_p_values(null + e, np.full(1_000, 2), np.full(1_000, 6), size=1_000) for e in EPSILON)
    np.testing.assert_array_equal(up, down)
    assert up.max() == 1.0


EPSILON = (1e-15, -1e-15)


# Many tests


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_that_of_scipy(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), atol=1e-12)


def test_values_that_are_missing_are_no_tests() -> None:
    np.testing.assert_allclose(benjamini_hochberg([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


def test_holm_is_that_of_the_paper() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
