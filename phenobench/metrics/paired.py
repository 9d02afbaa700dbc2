"""Differences between two models that were scored on the same perturbations or pairs: interval and p-value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from phenobench.errors import InputError
from phenobench.metrics.significance import TOLERANCE

LEVEL = 0.95
_RESAMPLES = 9_999
# Resamples held at a time: 2**22 in int64 are 32 MiB.
_BLOCK_CELLS = 2**22
# Resamples of up to this many perturbations are remembered, a byte each: 40 MB for the last few numbers of them.
_REMEMBERED = 1_000


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
    means = np.concatenate([counts.astype(np.float64) @ change / n for counts in _resample_counts(seed, n)])
    widening = np.sqrt(n / (n - 1))
    tail = special.ndtr(widening * special.stdtrit(n - 1, (1 - LEVEL) / 2))
    low, high = np.quantile(means, [tail, 1 - tail])
    beyond = min((means <= TOLERANCE).sum(), (means >= -TOLERANCE).sum())
    return Difference(value, min(float(low), value), max(float(high), value), float(_p_value(np.asarray(beyond), n)), n)


def p_values_of_means(values: np.ndarray, pairs: np.ndarray, seed: int) -> np.ndarray:
    """p-values of ``difference_of_means`` for many pairs of models at once, from the same resamples.

    Where no resample lies beyond 0, see ``smaller_by_student``.

    Args:
        values: one row a model and one column a perturbation (k, n).
        pairs: the two rows of each pair, integers (m, 2).
        seed: of the resamples.

    Returns:
        float64 (m,), two-sided, above 0.
    """
    n = values.shape[1]
    if n < 2 or not len(pairs):
        return np.ones(len(pairs))
    # Centred: the means of resamples then differ from 0 by no more than rounding where models do not differ at all.
    centred = np.ascontiguousarray((values - values.mean(axis=0)).T, dtype=np.float64)
    # The better of each pair first: as a rule few resampled differences are then below 0, and the others need no count.
    means = values.mean(axis=1)
    ordered = np.where((means[pairs[:, 0]] >= means[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1])
    beyond = _not_above(centred, ordered, seed)
    turned = 2 * beyond > _RESAMPLES
    beyond[turned] = np.minimum(beyond[turned], _not_above(centred, ordered[turned, ::-1], seed))
    return smaller_by_student(_p_value(beyond, n), values[pairs[:, 0]] - values[pairs[:, 1]])


def _not_above(centred: np.ndarray, pairs: np.ndarray, seed: int) -> np.ndarray:
    """In how many resamples the first of each pair is not above the second, integers (m,).

    Args:
        centred: float64, one row a perturbation and one column a model (n, k).
        pairs: two columns each (m, 2).
        seed: of the resamples.
    """
    n = len(centred)
    found = np.zeros(len(pairs), dtype=np.int64)
    if not len(pairs):
        return found
    for counts in _resample_counts(seed, n):
        means = np.ascontiguousarray((counts.astype(np.float64) @ centred).T) / n
        reached, which = means + TOLERANCE, np.empty(len(counts), dtype=bool)
        # One pair at a time stays in the processor's cache.
        for pair, (one, other) in enumerate(pairs.tolist()):
            found[pair] += np.count_nonzero(np.less_equal(means[one], reached[other], out=which))
    return found


def smaller_by_student(p_values: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Student's p-value in place of the least that the resamples can say, where it is smaller.

    Resamples cannot say less than 2 in 10,000, which no correction for a few hundred tests at once
    survives. The variance is that under no difference, with the square of the mean in it: t then
    stays below the root of n - 1, and few perturbations prove little however much they are alike.

    Args:
        p_values: of ``difference_of_means`` (m,).
        changes: the differences that they are of, one row a p-value (m, n).

    Returns:
        float64 (m,).
    """
    n = changes.shape[1]
    smaller = np.array(p_values, dtype=np.float64)
    if n > 1:
        # No resample beyond 0: then the changes are not all 0.
        clear = smaller <= _p_value(np.zeros(1), n) * (1 + TOLERANCE)
        own = changes[clear]
        t = np.abs(own.sum(axis=1)) * np.sqrt((n - 1) / n / np.square(own).sum(axis=1))
        smaller[clear] = np.minimum(smaller[clear], 2 * special.stdtr(n - 1, -t))
    return smaller


def _p_value(beyond: np.ndarray, n: int) -> np.ndarray:
    """From the number of resampled differences beyond 0, on the side where they are fewer."""
    share = (beyond + 1.0) / (_RESAMPLES + 1.0)
    return np.minimum(1.0, 2 * special.stdtr(n - 1, special.ndtri(share) / np.sqrt(n / (n - 1))))


def _resamples(seed: int, n: int) -> Iterator[np.ndarray]:
    """Blocks of resamples of n perturbations, their places (rows, n); all blocks have 9,999 rows together."""
    rng = np.random.default_rng([seed, n])
    step = max(1, _BLOCK_CELLS // n)
    for start in range(0, _RESAMPLES, step):
        yield rng.integers(0, n, (min(step, _RESAMPLES - start), n))


def _resample_counts(seed: int, n: int) -> Iterator[np.ndarray]:
    """How often each perturbation is in each resample: blocks of uint8 (rows, n)."""
    return iter(_remembered_counts(seed, n)) if n <= _REMEMBERED else map(_counts, _resamples(seed, n))


@lru_cache(maxsize=4)
def _remembered_counts(seed: int, n: int) -> tuple[np.ndarray, ...]:
    return tuple(map(_counts, _resamples(seed, n)))


def _counts(drawn: np.ndarray) -> np.ndarray:
    rows, n = drawn.shape
    places = (drawn + n * np.arange(rows)[:, None]).ravel()
    # More than 255 of one perturbation in one resample: never, for n perturbations drawn n times (Poisson of mean 1).
    return np.bincount(places, minlength=rows * n).astype(np.uint8).reshape(rows, n)


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
    error = _error_of_pairs(residuals, _sums_by_gene(residuals, pairs), value)
    freedom = _freedom(pairs)
    half = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    # Between shares no difference is larger than 1.
    low, high = max(value - half, -1.0), min(value + half, 1.0)
    return Difference(value, low, high, float(2 * special.stdtr(freedom, -abs(value) / error)), m)


def p_values_of_pairs(values: np.ndarray, pairs: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """p-values of ``difference_of_pairs`` for many pairs of models at once.

    Args:
        values: one row a model and one column a pair of genes (k, m).
        pairs: the two rows of each pair of models, integers (p, 2).
        genes: the two genes of each pair of genes, integers (m, 2).

    Returns:
        float64 (p,), two-sided, above 0.
    """
    means = values.mean(axis=1)
    residuals = values - means[:, None]
    sums = np.array([_sums_by_gene(row, genes) for row in residuals])
    statistics = np.zeros(len(pairs))
    for number, (one, other) in enumerate(pairs.tolist()):
        if (values[one] != values[other]).any():
            value = float(means[one] - means[other])
            error = _error_of_pairs(residuals[one] - residuals[other], sums[one] - sums[other], value)
            statistics[number] = abs(value) / error
    return np.asarray(2 * special.stdtr(_freedom(genes), -statistics))


def _sums_by_gene(residuals: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Sums of the residuals of each gene's pairs, as of the mean without these pairs (the jackknife over genes)."""
    m = len(residuals)
    degree = np.bincount(pairs.ravel())
    return np.asarray(np.bincount(pairs.ravel(), weights=np.repeat(residuals, 2)) * m / np.maximum(m - degree, 1))


def _error_of_pairs(residuals: np.ndarray, by_gene: np.ndarray, value: float) -> float:
    """The standard error of a mean difference, from its residuals and their sums by gene."""
    m, own = len(residuals), float(residuals @ residuals)
    # Every pair's own square stands in the sums of both its genes, hence once too often. Few genes can by
    # chance give next to nothing; half of independent pairs' variance is a floor that rarely binds otherwise.
    together = max(float(by_gene @ by_gene) - own, own / 2)
    # With the square of the mean, as under no difference: pairs that all change alike have no variance otherwise.
    return float(np.sqrt(together + m * value**2)) / m


def _freedom(pairs: np.ndarray) -> float:
    """Degrees of freedom: one less than the genes that would weigh as much if all had equally many pairs (Kish)."""
    degree = np.bincount(pairs.ravel())
    return float(pairs.size) ** 2 / float(degree @ degree) - 1


def _change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(first) != len(second) or not len(first):
        raise InputError(f"{len(first)} and {len(second)} values are no pairs; give both models' values of the same")
    return first - second
