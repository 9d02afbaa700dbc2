"""Intervals for means of values that depend on each other where they share a label."""

from __future__ import annotations

import numpy as np

from phenobench.metrics.intervals import bootstrap_mean

# A mean square residual below this is rounding.
_NOTHING = 1e-20


def mean_of_related(values: np.ndarray, labels: np.ndarray, seed: int) -> tuple[float, float]:
    """Interval for the mean of one value a perturbation, where perturbations with a label in common are dependent.

    Two compounds of one target are each other's positives, so their average precisions rise and
    fall together. The variance of the mean sums the products of residuals of all pairs that share
    a label (dependency neighbourhoods: Aronow et al. 2015; Leung 2022), each residual taken
    against the mean without its relatives. Its ratio to the variance of independent values
    stretches the bootstrap interval, which keeps the skewness of the values. The whole line where
    every value is related to every other.

    Args:
        values: one a perturbation (n,).
        labels: membership, boolean (n, n_labels).
        seed: of the resamples.
    """
    n = len(values)
    mean = float(values.mean())
    low, high = bootstrap_mean(values, seed)
    shared = labels.astype(np.float32) @ labels.T.astype(np.float32) > 0
    np.fill_diagonal(shared, True)
    relatives = shared.sum(axis=1)
    if (relatives == n).all():
        return (float("-inf"), float("inf"))
    residuals = values - mean
    own = float(residuals @ residuals)
    apart = residuals * n / np.maximum(n - relatives, 1)
    together = float(apart @ (shared @ apart))
    stretch = float(np.sqrt(min(max(1.0, together / own), float(n)))) if own > _NOTHING * n else 1.0
    return mean - stretch * (mean - low), mean + stretch * (high - mean)
