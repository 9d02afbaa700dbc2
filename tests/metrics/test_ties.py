from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phenobench.metrics.ties import expected_average_precision, harmonic, hit_probability, precision_in_block


def mean_precision_sum(positives: int, negatives: int, above: int, rank: int) -> float:
    """Sum of precision at the positives of a tied block, averaged over all orders of the block."""
    size = positives + negatives
    total = 0.0
    for places in combinations(range(1, size + 1), positives):
        total += sum((above + nth) / (rank + place) for nth, place in enumerate(places, start=1))
    return total / comb(size, positives)


@pytest.mark.parametrize("n_total", range(2, 9))
def test_chance_is_the_mean_over_all_rankings(n_total: int) -> None:
    wanted = [mean_precision_sum(p, n_total - p, 0, 0) / p for p in range(1, n_total)]
    assert expected_average_precision(np.arange(1, n_total), np.full(n_total - 1, n_total)) == pytest.approx(
        wanted, abs=1e-14
    )


def test_chance_is_not_the_prevalence() -> None:
    chance = expected_average_precision(np.array([3, 1]), np.array([43, 16]))
    # Prevalences 0.070 and 0.0625.
    assert chance == pytest.approx([0.143, 0.212], abs=1.5e-3)
    assert chance[0] == pytest.approx(mean_precision_sum(3, 40, 0, 0) / 3, abs=1e-14)
    # One positive of 16: the mean of 1 / rank.
    assert chance[1] == pytest.approx(np.mean(1 / np.arange(1, 17)), abs=1e-15)


def test_chance_is_undefined_without_positives_or_negatives() -> None:
    chance = expected_average_precision(np.array([0, 3, 0, 2]), np.array([5, 3, 0, 5]))
    assert np.isnan(chance).tolist() == [True, True, True, False]
    assert np.isnan(expected_average_precision(np.array([0]), np.array([0]))).all()
    assert expected_average_precision(np.array([], dtype=int), np.array([], dtype=int)).shape == (0,)


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 4), st.integers(0, 6))
def test_a_tied_block_is_the_mean_over_its_orders(positives: int, negatives: int, above: int, others: int) -> None:
    rank = above + others
    got = precision_in_block(
        np.array([positives]), np.array([negatives]), np.array([above]), np.array([rank]), harmonic(40)
    )
    assert got[0] == pytest.approx(mean_precision_sum(positives, negatives, above, rank), abs=1e-13)


@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 5), st.integers(0, 6))
def test_hits_agree_with_enumeration(k: int, better: int, correct: int, wrong: int) -> None:
    orders = list(combinations(range(better + 1, better + correct + wrong + 1), correct))
    found = sum(places[0] <= k for places in orders)
    got = hit_probability(k, np.array(better), np.array(correct), np.array(wrong))
    assert float(got) == pytest.approx(found / len(orders), abs=1e-14)


def test_hits_agree_with_the_hypergeometric_distribution() -> None:
    rng = np.random.default_rng(3)
    correct, wrong, better = rng.integers(1, 60, 500), rng.integers(0, 400, 500), rng.integers(0, 15, 500)
    for k in (1, 5, 10, 50):
        places = np.clip(k - better, 0, correct + wrong)
        none = stats.hypergeom.pmf(0, correct + wrong, correct, places)
        np.testing.assert_allclose(hit_probability(k, better, correct, wrong), 1 - none, atol=1e-12)
