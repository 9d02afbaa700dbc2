"""Differences between two models that were scored on the same perturbations or pairs: interval and p-value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from phenobench.errors import InputError
from phenobench.metrics.significance import TOLERANCE

LEVEL = 0.95
_RESAMPLES = 9_999
# Resamples held at a time: 2**22 in int64 are 32 MiB.
_BLOCK_CELLS = 2**22


@dataclass(frozen=True)
class Difference:
    """A mean difference, first minus second.

    Attributes:
        value: the difference.
        ci_low: lower end of the 95 % interval.
        ci_high: upper end of the 95 % interval.
        p_value: two-sided, of no difference.
        n: perturbations, or pairs, that both were scored on.
    """

    value: float
    ci_low: float
    ci_high: float
    p_value: float
    n: int


def difference_of_means(first: np.ndarray, second: np.ndarray, seed: int) -> Difference:
    """Difference of two means over the same perturbations, which are resampled for both at once.

    Percentiles of the bootstrap, expanded to the width that Student's t gives few perturbations
    (Hesterberg 2015, section 5.3). The p-value is the level at which the interval just reaches 0, from
    the same resamples: both ends come from the share of resampled differences beyond 0, which is at
    least 1 / 10,000. The resamples depend on the seed and the number of perturbations alone, so all
    pairs of models share them.

    Args:
        first: one value a perturbation (n,).
        second: the other model's values (n,) of the same perturbations.
        seed: of the resamples.

    Raises:
        InputError: the two have no values, or not the same number.
    """
    change = _change(first, second)
    n, value = len(change), float(change.mean())
    if n < 2:
        return Difference(value, float("-inf"), float("inf"), 1.0, n)
    rng = np.random.default_rng([seed, n])
    means = np.empty(_RESAMPLES)
    step = max(1, _BLOCK_CELLS // n)
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        means[start : start + size] = change[rng.integers(0, n, (size, n))].mean(axis=1)
    widening = np.sqrt(n / (n - 1))
    tail = stats.norm.cdf(widening * stats.t.ppf((1 - LEVEL) / 2, n - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    beyond = min((means <= TOLERANCE).sum(), (means >= -TOLERANCE).sum())
    share = (beyond + 1.0) / (_RESAMPLES + 1.0)
    p_value = 2 * stats.t.cdf(stats.norm.ppf(share) / widening, n - 1)
    return Difference(value, min(float(low), value), max(float(high), value), min(1.0, float(p_value)), n)


def difference_of_pairs(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> Difference:
    """Difference of two shares of the same gene pairs, where genes and not pairs were sampled.

    The closed form of resampling genes, as in ``intervals.proportion_of_pairs``: products of the
    differences of all pairs of pairs with a gene in common (Fafchamps and Gubert 2007; Aronow et
    al. 2015, eq. 3), against the jackknife over genes, and Student's t at the number of genes
    that would weigh as much if all had equally many pairs (Kish). Resampling with weights w_i w_j
    counts a pair's own noise three times, which is most of a difference between two models.

    Args:
        first: 0 to 1 a pair (m,).
        second: the other model's values (m,) of the same pairs.
        pairs: the two genes of each pair as integers (m, 2).

    Raises:
        InputError: the two have no values, or not the same number.
    """
    change = _change(first, second)
    m, value = len(change), float(change.mean())
    if not change.any():
        return Difference(0.0, 0.0, 0.0, 1.0, m)
    residuals = change - value
    own = float(residuals @ residuals)
    degree = np.bincount(pairs.ravel())
    genes = np.bincount(pairs.ravel(), weights=np.repeat(residuals, 2)) * m / np.maximum(m - degree, 1)
    # Every pair's own square stands in the sums of both its genes, hence once too often. Few genes can by
    # chance give next to nothing; half of independent pairs' variance is a floor that rarely binds otherwise.
    together = max(float(genes @ genes) - own, own / 2)
    # With the square of the mean, as under no difference: pairs that all change alike have no variance otherwise.
    error = float(np.sqrt(together + m * value**2)) / m
    freedom = (2.0 * m) ** 2 / float(degree @ degree) - 1
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    return Difference(value, value - half, value + half, float(2 * stats.t.sf(abs(value) / error, freedom)), m)


def _change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(first) != len(second) or not len(first):
        raise InputError(f"{len(first)} and {len(second)} values are no pairs; give both models' values of the same")
    return first - second
