"""Nearest neighbours against scikit-learn, and ties against an enumeration of tie orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from phenobench.errors import InputError
from phenobench.metrics.neighbours import same_label_share


def test_without_ties_it_is_scikit_learns_neighbours() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((300, 16)), rng.integers(0, 5, 300)
    found = NearestNeighbors(n_neighbors=11, metric="cosine").fit(features).kneighbors(features)[1][:, 1:]
    share, chance, _ = same_label_share(features, labels, 10)
    assert share == pytest.approx((labels[found] == labels[:, None]).mean(axis=1))
    assert chance == pytest.approx((np.bincount(labels)[labels] - 1) / 299)


def test_ties_count_as_the_mean_over_their_orders() -> None:
    features = np.array([[1, 0], [1, 0], [2, 0], [1, 1], [1, 1], [0, 1], [-1, 0]], dtype=float)
    labels = np.array([0, 1, 0, 0, 1, 1, 0])
    share, _, _ = same_label_share(features, labels, 3)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    for row in range(7):
        others = [other for other in range(7) if other != row]
        cosine = np.round(units @ units[row], 6)
        orders = [order for order in permutations(others) if all(np.diff(cosine[list(order)]) <= 0)]
        means = [np.mean(labels[list(order[:3])] == labels[row]) for order in orders]
        assert share[row] == pytest.approx(np.mean(means))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_is_exactly_at_chance(value: float) -> None:
    labels = np.random.default_rng(1).integers(0, 4, 80)
    share, chance, _ = same_label_share(np.full((80, 5), value), labels, 15)
    assert share.tolist() == chance.tolist()


def test_as_many_neighbours_as_there_are_rows() -> None:
    features = np.random.default_rng(2).standard_normal((6, 3))
    share, chance, _ = same_label_share(features, np.array([0, 0, 0, 1, 1, 1]), 5)
    assert share == pytest.approx(chance)
    with pytest.raises(InputError, match="6 nearest neighbours among 6 rows"):
        same_label_share(features, np.zeros(6, dtype=int), 6)
