"""Confidence intervals that respect what was sampled: perturbations, not wells and not pairs."""

from __future__ import annotations

import numpy as np
from scipy import stats

from phenobench.metrics.tails import Edge

LEVEL = 0.95
_RESAMPLES = 2000
# Resampling weights held at a time: 2**22 in float64 are 32 MiB.
_BLOCK_CELLS = 2**22
# A mean square residual below this is rounding.
_NOTHING = 1e-20


def bootstrap_mean(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Interval for a mean of one value a perturbation, by resampling perturbations.

    Percentiles of the bootstrap, corrected for bias and skewness (BCa: Efron 1987), which average precisions near
    chance have, and expanded to the width that Student's t gives few perturbations (Hesterberg 2015, section 5.3).
    It always contains the mean.

    Args:
        values: one value a perturbation (n,).
        seed: of the resamples.
    """
    n = len(values)
    if n < 2:
        return (float("-inf"), float("inf"))
    rng = np.random.default_rng([seed, n])
    means = np.empty(_RESAMPLES)
    step = max(1, _BLOCK_CELLS // n)
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        means[start : start + size] = values[rng.integers(0, n, (size, n))].mean(axis=1)
    mean = float(values.mean())
    residuals = values - mean
    if float(residuals @ residuals) <= _NOTHING * n:
        return mean, mean
    wide = np.sqrt(n / (n - 1)) * stats.t.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], n - 1)
    below = ((means < mean).sum() + (means <= mean).sum()) / (2 * _RESAMPLES)
    bias = stats.norm.ppf(np.clip(below, 1 / _RESAMPLES, 1 - 1 / _RESAMPLES))
    acceleration = (residuals**3).sum() / (6 * (residuals @ residuals) ** 1.5)
    tails = stats.norm.cdf(bias + (bias + wide) / (1 - acceleration * (bias + wide)))
    low, high = np.quantile(means, tails)
    return min(float(low), mean), max(float(high), mean)


def share_of_hits(values: np.ndarray) -> tuple[float, float]:
    """Interval for a mean of values from 0 to 1 that are nearly all one or the other, one a perturbation.

    Wilson's at the number of trials of which a share would vary as much: resamples of nothing but zeros do not
    vary, and a bootstrap of a few hits among many perturbations covers 60 %.

    Args:
        values: one value a perturbation (n,).
    """
    n, mean = len(values), float(values.mean())
    if n < 2:
        return (float("-inf"), float("inf"))
    spread = float(((values - mean) ** 2).mean())
    trials = n * mean * (1 - mean) / spread if spread > _NOTHING else n
    return wilson(mean, trials, float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)))


def share_discovered(p_values: np.ndarray, rate: float, seed: int) -> tuple[float, float]:
    """Interval for the share of perturbations that are discovered at a false discovery rate.

    The threshold of Benjamini and Hochberg moves with the perturbations, so that discoveries come and go together:
    resampling says to how many independent perturbations these amount, and Wilson's interval is taken there.

    Args:
        p_values: one a perturbation (n,).
        rate: the false discovery rate.
        seed: of the resamples.
    """
    n = len(p_values)
    rng = np.random.default_rng([seed, n])
    thresholds = rate * np.arange(1, n + 1) / n
    found = np.empty(_RESAMPLES)
    step = max(1, _BLOCK_CELLS // n)
    for start in range(0, _RESAMPLES, step):
        size = min(step, _RESAMPLES - start)
        ordered = np.sort(p_values[rng.integers(0, n, (size, n))], axis=1)
        found[start : start + size] = ((ordered < thresholds) * np.arange(1, n + 1)).max(axis=1) / n
    discovered = ((np.sort(p_values) < thresholds) * np.arange(1, n + 1)).max() / n
    independent = discovered * (1 - discovered) / n
    effect = max(1.0, float(found.var()) / independent) if independent else 1.0
    return wilson(float(discovered), n / effect)


def mean_reciprocal_rank(values: np.ndarray, candidates: int, seed: int) -> tuple[float, float]:
    """Interval for a mean of reciprocal ranks, one value a perturbation.

    ``bootstrap_mean``, and an upper end that is not below what chance alone calls for. Most of what a mean reciprocal
    rank varies by comes from the few queries that rank first: a sample without one looks as if it hardly varied, and
    resamples of it end below the mean at chance in one case of twelve. So the variance, as a part of that of 0 or 1
    with the same mean, and the skewness (Cornish and Fisher 1938, first term) are at least those of a random rank.

    Args:
        values: one a perturbation (n,), from 0 to 1.
        candidates: what is ranked, of which one is right.
        seed: of the resamples.
    """
    low, high = bootstrap_mean(values, seed)
    n, mean = len(values), float(values.mean())
    if n < 2 or candidates < 2:
        return low, high
    chance = 1.0 / np.arange(1, candidates + 1)
    ratio = float(chance.var() / (chance.mean() * (1 - chance.mean())))
    skewness = float(((chance - chance.mean()) ** 3).mean() / chance.std() ** 3)
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
    quantile = max(0.0, quantile - skewness / np.sqrt(n) * (quantile**2 - 1) / 6)
    return low, max(high, wilson(mean, n / ratio, quantile)[1])


def median_interval(values: np.ndarray, unit: float = 0.0) -> tuple[float, float]:
    """Interval for the median of one value a perturbation, between two order statistics at either end.

    Distribution-free: the order statistics with at least 95 % of the binomial distribution between them, and the next
    ones with less, are interpolated (Hettmansperger and Sheather 1986). With fewer than six values, the extremes.

    Args:
        values: one a perturbation (n,).
        unit: of values that are counts, such as ranks: equal ones are spread over it, as for the median of grouped
            data, since there is nothing to interpolate between them.
    """
    n = len(values)
    size = np.unique(values, return_counts=True)[1]
    first, size = np.repeat(np.cumsum(size) - size, size), np.repeat(size, size)
    ordered = np.sort(np.sort(values) + unit * ((np.arange(n) - first + 0.5) / size - 0.5))
    place = int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))
    if not place:
        return float(ordered[0]), float(ordered[-1])
    wide, narrow = (1 - 2 * float(stats.binom.cdf(k, n, 0.5)) for k in (place - 1, place))
    inward = (wide - LEVEL) / (wide - narrow)
    inward = (n - place) * inward / (place + (n - 2 * place) * inward)
    low, high = (
        (1 - inward) * float(ends[place - 1]) + inward * float(ends[place]) for ends in (ordered, ordered[::-1])
    )
    return low, high


def proportion_of_pairs(hits: np.ndarray, pairs: np.ndarray, edge: Edge | None = None) -> tuple[float, float]:
    """Interval for a share of gene pairs, where genes and not pairs were sampled.

    Pairs that share a gene rise and fall together. Resampling genes gives the variance of the
    share in closed form: products of the residuals of all pairs of pairs with a gene in common
    (Fafchamps and Gubert 2007; Aronow et al. 2015, eq. 3), which, unlike weights w_i w_j, does not
    count a pair's own noise three times. A gene's residuals are taken against the share without
    it (the jackknife over genes), since few genes pull the share towards themselves. The ratio to
    the variance of independent pairs says how many independent pairs these are worth; Wilson's
    interval at that number covers well for few pairs and for shares near 0 and 1, and contains the
    share. Student's t replaces the normal distribution, at the number of genes that would weigh as
    much if all had equally many pairs (Kish). Half of independent pairs' variance is a floor, as few
    genes can by chance give next to nothing, and all of it where one gene has all pairs, whose sum says nothing.

    A tail has a fixed number of places: a pair that comes in pushes the one at its edge out, which is an annotated
    one as often as annotated pairs stand there. With their share p at the edge, the variance is (1 - p)^2 times
    that, and p^2 for each of the other pairs of the tail, which come and go like events of a Poisson process.

    Args:
        hits: 0 to 1 a pair (m,).
        pairs: the two genes of each pair as integers (m, 2).
        edge: of the tails that hits lie in; None where one hit does not push out another.
    """
    m = len(hits)
    share = float(hits.mean())
    residuals = hits - share
    own = float(residuals @ residuals)
    degree = np.bincount(pairs.ravel())
    genes = np.bincount(pairs.ravel(), weights=np.repeat(residuals, 2)) * m / np.maximum(m - degree, 1)
    # Every pair's own square stands in the sums of both its genes, hence once too often.
    together = float(genes @ genes) - own
    # Equal hits (all found, none found, all tied) say nothing about dependence.
    effect = max((1.0 + degree.max() / m) / 2, together / own) if own > _NOTHING * m else 1.0
    if edge and own > _NOTHING * m:
        effect = (1 - edge.annotated) ** 2 * effect + edge.annotated**2 * edge.others / own
    effect = min(effect, float(m))
    n_genes = (2.0 * m) ** 2 / float(degree @ degree)
    return wilson(share, m / effect, float(stats.t.ppf(0.5 + LEVEL / 2, n_genes - 1)))


def wilson(share: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Wilson's score interval for a share of n independent trials (n may be fractional).

    Args:
        share: of successes.
        n: trials.
        z: how many standard errors wide; the normal quantile where none is given.
    """
    z = float(stats.norm.ppf(0.5 + LEVEL / 2)) if z is None else z
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(min(centre - half, share))), min(1.0, float(max(centre + half, share)))
