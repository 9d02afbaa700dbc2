"""Average precision of annotated gene pairs, ranked by cosine among all pairs of a map: tail recall ignores order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from phenobench.metrics.intervals import LEVEL
from phenobench.metrics.pools import precision_of_positives
from phenobench.metrics.relationships import CosineMap, LocatedPairs

# A mean square residual below this is rounding.
_NOTHING = 1e-20


@dataclass(frozen=True)
class PairPrecision:
    """Average precision of a source's pairs.

    Attributes:
        value: the average precision, exactly over ties.
        chance: its exact expectation without information, a little above the share of annotated pairs.
        precision: at each annotated pair's place, float64 (n_pairs,); their mean is the value.
        interval: 95 %, over genes.
    """

    value: float
    chance: float
    precision: np.ndarray
    interval: tuple[float, float]


def pair_average_precision(cosines: CosineMap, pairs: LocatedPairs) -> PairPrecision:
    """Rank all n (n - 1) / 2 pairs of a map by cosine, the most alike first; annotated pairs are the positives.

    Args:
        cosines: the map.
        pairs: of a source, located in that map; at least one.
    """
    n_above, n_equal = cosines.n_pairs - pairs.upto, pairs.upto - pairs.below
    precision = precision_of_positives(pairs.level, n_above, n_equal)
    nothing = np.zeros(len(pairs.rows))
    chance = float(precision_of_positives(nothing, nothing, nothing + cosines.n_pairs)[0])
    # Written as a difference from chance, so that an all-tied map is at chance to the last bit.
    value = chance + float(np.mean(precision - chance))
    rank = n_above + (n_equal + 1) / 2
    low, high = _interval(value, precision, rank, pairs.rows)
    return PairPrecision(value, chance, precision, (min(low, value), max(high, value)))


def _interval(value: float, precision: np.ndarray, rank: np.ndarray, pairs: np.ndarray) -> tuple[float, float]:
    """Genes and not pairs are sampled: the delta method on the precisions, with pairs that share a gene dependent.

    A pair counts by its own precision and by what it adds to the precision of the annotated pairs
    that rank below it; variance as in ``intervals.proportion_of_pairs``. An unannotated pair takes from the precision
    of all annotated ones below it, and such pairs come and go like events of a Poisson process. The interval is
    symmetric on the logit scale.
    """
    m = len(precision)
    if m < 2 or not 0 < value < 1:
        return (0.0, 1.0) if m < 2 else (value, value)
    order = np.argsort(rank, kind="stable")
    gain, loss = np.empty(m), np.cumsum((precision / rank)[order][::-1])[::-1]
    gain[order] = np.cumsum(((1.0 - precision) / rank)[order][::-1])[::-1]
    residuals = precision + gain
    residuals -= residuals.mean()
    own = float(residuals @ residuals)
    if own < _NOTHING * m:
        return value, value
    # As there, a floor: half of independent pairs' variance, and all of it where one gene has all pairs.
    least = own * (1.0 + float(np.bincount(pairs.ravel()).max()) / m) / 2
    spread = max(_by_gene(residuals, pairs), _by_component(residuals, pairs), np.sqrt(least) * _quantile(m))
    between = np.maximum(np.diff(rank[order], prepend=0.0) - 1.0, 0.0)
    half = float(np.hypot(spread, _quantile(m) * np.sqrt(between @ loss**2))) / m / (value * (1 - value))
    centre = np.log(value / (1 - value))
    with np.errstate(over="ignore"):
        low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
    return float(low), float(high)


def _by_gene(residuals: np.ndarray, pairs: np.ndarray) -> float:
    """Half the width of the interval of a sum of residuals, where pairs with a gene in common are dependent."""
    m = len(residuals)
    degree = np.bincount(pairs.ravel())
    genes = np.bincount(pairs.ravel(), weights=np.repeat(residuals, 2)) * m / np.maximum(m - degree, 1)
    # Every pair's own square stands in the sums of both its genes, hence once too often.
    together = max(0.0, float(genes @ genes) - float(residuals @ residuals))
    return _quantile((2.0 * m) ** 2 / float(degree @ degree)) * float(np.sqrt(together))


def _by_component(residuals: np.ndarray, pairs: np.ndarray) -> float:
    """The same where all pairs of a connected part of the annotation, such as a complex, are dependent."""
    m, n = len(residuals), int(pairs.max()) + 1
    graph = coo_array((np.ones(m), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    part = connected_components(graph, directed=False)[1][pairs[:, 0]]
    size = np.bincount(part)
    sums = np.bincount(part, weights=residuals) * m / np.maximum(m - size, 1)
    n_parts = m**2 / float(size @ size)
    # Of a single part nothing is learnt about another.
    return _quantile(n_parts) * float(np.sqrt(sums @ sums)) if n_parts > 2 else 0.0


def _quantile(n: float) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2, max(1.0, n - 1)))
