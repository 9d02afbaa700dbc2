from __future__ import annotations

import numpy as np
import pytest

from phenobench.metrics.pair_precision import _interval


def screen(rng: np.random.Generator, size: int, strength: float) -> tuple[float, tuple[float, float]]:
    """60 genes in groups of a size with part of their effects in common; all pairs of a group are annotated."""
    group = np.arange(60) // size
    features = rng.standard_normal((60, 16)) + strength * rng.standard_normal((60, 16))[group]
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    one, two = np.triu_indices(60, 1)
    rank = np.empty(len(one))
    rank[np.argsort(-(units @ units.T)[one, two])] = np.arange(1, len(one) + 1)
    related = group[one] == group[two]
    found = rank[related]
    precision = (found.argsort().argsort() + 1) / found
    value = float(precision.mean())
    return value, _interval(value, precision, found, np.column_stack([one, two])[related])


@pytest.mark.parametrize(("size", "strength"), [(5, 0.0), (5, 0.6), (4, 1.0)])
def test_intervals_over_genes_cover_the_expectation(size: int, strength: float) -> None:
    found = [screen(np.random.default_rng([3, seed]), size, strength) for seed in range(600)]
    truth = float(np.mean([value for value, _ in found]))
    assert 0.92 <= np.mean([low <= truth <= high for _, (low, high) in found]) <= 0.985
    assert all(low < value < high for value, (low, high) in found)
