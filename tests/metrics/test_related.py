"""Intervals of means where values depend on each other, and average precision in pools."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from phenobench.metrics.intervals import bootstrap_mean
from phenobench.metrics.pools import pool_average_precision
from phenobench.metrics.related import mean_of_related


def test_unrelated_values_have_the_interval_of_the_bootstrap() -> None:
    values = np.random.default_rng(0).random(60)
    low, high = bootstrap_mean(values, 0)
    got = mean_of_related(values, np.eye(60, dtype=bool), 0)
    # Residuals are taken without the value itself, hence the little more.
    assert got == pytest.approx((low, high), abs=0.02 * (high - low))
    assert got[0] <= low
    assert got[1] >= high


def test_values_in_equal_pairs_widen_it_by_the_root_of_two() -> None:
    values = np.repeat(np.random.default_rng(1).random(40), 2)
    labels = np.repeat(np.eye(40, dtype=bool), 2, axis=0)
    low, high = bootstrap_mean(values, 0)
    wide = mean_of_related(values, labels, 0)
    assert (wide[1] - wide[0]) / (high - low) == pytest.approx(np.sqrt(2), rel=0.05)


def test_it_covers_the_mean_of_dependent_values() -> None:
    inside = 0
    labels = np.repeat(np.eye(60, dtype=bool), 3, axis=0)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        values = np.repeat(rng.standard_normal(60), 3) + 0.5 * rng.standard_normal(180)
        low, high = mean_of_related(values, labels, 0)
        inside += low <= 0 <= high
    # 142 are expected; fewer than 133 have a chance of 0.1 %.
    assert inside >= 133


def test_where_all_are_related_nothing_is_known() -> None:
    assert mean_of_related(np.random.default_rng(2).random(5), np.ones((5, 1), dtype=bool), 0) == (-np.inf, np.inf)


def test_equal_values_have_no_width() -> None:
    assert mean_of_related(np.full(10, 0.3), np.eye(10, dtype=bool), 0) == pytest.approx((0.3, 0.3))


def test_a_pools_average_precision_is_the_mean_over_orders_of_ties() -> None:
    similarity = np.array([0.5, 0.5, 0.9, np.nan, 0.5, np.nan])
    positive = np.array([True, False, False, True, False, False])
    worst = np.nan_to_num(similarity, nan=-1.0)
    orders = [order for order in permutations(range(6)) if all(np.diff(worst[list(order)]) <= 0)]
    expected = np.mean([average_precision_score(positive[list(order)], -np.arange(6)) for order in orders])
    precision, chance = pool_average_precision(similarity, positive)
    assert precision == pytest.approx(expected)
    every = [average_precision_score(positive[list(order)], -np.arange(6)) for order in permutations(range(6))]
    assert chance == pytest.approx(np.mean(every))
