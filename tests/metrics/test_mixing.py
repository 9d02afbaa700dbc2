"""Silhouettes against scikit-learn, connectivity against a search by hand, and chance by permutation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from phenobench.errors import InputError
from phenobench.metrics.mixing import (
    graph_connectivity,
    jackknife_interval,
    silhouette,
    silhouette_with_chance,
)
from phenobench.metrics.units import unit_rows


def test_silhouette_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((120, 5)), rng.integers(0, 4, 120)
    labels[7] = 4
    got = silhouette(unit_rows(features), labels)
    np.testing.assert_allclose(got, silhouette_samples(features, labels, metric="cosine"), atol=1e-5)
    assert got[7] == 0


def test_a_code_without_rows_is_no_group() -> None:
    features, labels = np.random.default_rng(1).standard_normal((30, 3)), np.repeat([0, 2], 15)
    assert silhouette(unit_rows(features), labels).tolist() == silhouette(unit_rows(features), labels // 2).tolist()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_has_no_silhouette_and_none_by_chance(value: float) -> None:
    plates, perturbations = np.repeat(np.arange(4), 10), np.tile(np.arange(10), 4)
    width, chance, without = silhouette_with_chance(np.full((40, 3), value), plates, perturbations, 0)
    assert not width.any()
    assert not chance.any()
    assert not without.any()


def test_plates_that_lie_apart_have_silhouette_one_and_exchanged_ones_do_not() -> None:
    plates, perturbations = np.repeat(np.arange(4), 10), np.tile(np.arange(10), 4)
    width, chance, _ = silhouette_with_chance(np.eye(4)[plates], plates, perturbations, 0)
    assert width.tolist() == [1.0] * 40
    assert abs(chance.mean()) < 0.2
    # Where each perturbation has a plate of its own there is nothing to exchange.
    width, chance, _ = silhouette_with_chance(np.eye(4)[plates], plates, plates, 0)
    assert width.tolist() == chance.tolist()


def test_a_silhouette_needs_two_groups() -> None:
    with pytest.raises(InputError, match="needs two groups"):
        silhouette_with_chance(np.ones((6, 2)), np.zeros(6, dtype=int), np.arange(6), 0)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(2).standard_normal(20)
    without = np.array([np.delete(values, i).mean() for i in range(20)])
    low, high = jackknife_interval(values.mean(), without)
    assert high - low == pytest.approx(2 * 2.093 * values.std(ddof=1) / np.sqrt(20), rel=1e-3)
    assert jackknife_interval(0.5, without[:1]) == (-np.inf, np.inf)


def by_hand(features: np.ndarray, perturbations: np.ndarray, k: int) -> list[float]:
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = units @ units.T
    np.fill_diagonal(cosine, -9)
    near = [set(np.argsort(-row)[:k].tolist()) for row in cosine]
    shares = []
    for name in np.unique(perturbations):
        left, best = set(np.flatnonzero(perturbations == name).tolist()), 0
        n = len(left)
        while left:
            part = [left.pop()]
            for row in part:
                reached = {other for other in left if other in near[row] or row in near[other]}
                left -= reached
                part += reached
            best = max(best, len(part))
        shares.append(best / n)
    return shares


def test_connectivity_is_the_largest_part_found_by_hand() -> None:
    rng = np.random.default_rng(3)
    features, perturbations = rng.standard_normal((90, 6)), rng.integers(0, 15, 90)
    features += 0.8 * rng.standard_normal((15, 6))[perturbations]
    share, _ = graph_connectivity(features, perturbations, np.zeros(90, dtype=int), 5, 0)
    assert share == pytest.approx(by_hand(features, perturbations, 5))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_is_as_connected_as_chance(value: float) -> None:
    perturbations = np.tile(np.arange(10), 4)
    share, chance = graph_connectivity(np.full((40, 3), value), perturbations, np.repeat(np.arange(4), 10), 5, 0)
    assert share.tolist() == chance.tolist() == [1.0 if value else 0.25] * 10


def test_equal_replicates_are_connected_and_ties_beyond_them_are_not() -> None:
    perturbations, plates = np.tile(np.arange(30), 4), np.repeat(np.arange(4), 30)
    share, chance = graph_connectivity(np.eye(30)[perturbations], perturbations, plates, 15, 0)
    assert share.tolist() == [1.0] * 30
    assert chance.mean() < 0.4
    # More equal replicates than neighbours are one part all the same.
    share, _ = graph_connectivity(
        np.eye(2)[np.repeat([0, 1], 20)], np.repeat([0, 1], 20), np.zeros(40, dtype=int), 5, 0
    )
    assert share.tolist() == [1.0, 1.0]


def test_what_only_plates_know_connects_no_perturbation() -> None:
    perturbations, plates = np.tile(np.arange(30), 4), np.repeat(np.arange(4), 30)
    share, chance = graph_connectivity(np.eye(4)[plates], perturbations, plates, 15, 0)
    assert share.tolist() == chance.tolist() == [0.25] * 30
    with pytest.raises(InputError, match="15 nearest neighbours among 15 rows"):
        graph_connectivity(np.ones((15, 2)), np.zeros(15, dtype=int), np.zeros(15, dtype=int), 15, 0)
