"""The difference of a score between two results: paired on their items, or from the two intervals without them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from phenobench.comparison.movers import Movers, movers
from phenobench.item_values import Values
from phenobench.metrics.paired import (
    LEVEL,
    Difference,
    difference_of_means,
    difference_of_pairs,
    smaller_by_student,
)
from phenobench.results import ScoreInfo


@dataclass(frozen=True)
class ScoreDifference:
    """A score of two results, first minus second.

    Attributes:
        first: the score of the first.
        second: the score of the second.
        difference: with interval and p-value, on what both were scored on.
        paired: it is of the same items; otherwise of two scores with their intervals, as if independent.
        left_out: perturbations, or pairs, that only one of the two was scored on.
        moved: what became better and worse; None without items.
    """

    first: ScoreInfo
    second: ScoreInfo
    difference: Difference
    paired: bool
    left_out: int = 0
    moved: Movers | None = None

    @property
    def name(self) -> str:
        """The metric, and the subset where there is more than one."""
        return score_name(self.first)

    @property
    def gain(self) -> float:
        """How much better the first is, whatever the direction of the metric."""
        return self.difference.value if self.first.higher_is_better else -self.difference.value


def score_name(score: ScoreInfo) -> str:
    """The metric, and the subset where there is more than one."""
    return score.metric if score.subset == "all" else f"{score.metric} {score.subset}"


def score_difference(
    first: ScoreInfo, second: ScoreInfo, of_first: Values | None, of_second: Values | None, seed: int = 0
) -> ScoreDifference:
    """The difference of a score, paired where both results have its items.

    Args:
        first: the score of the first result.
        second: the same score of the second.
        of_first: what the first is the mean of, None where that is not known.
        of_second: what the second is the mean of.
        seed: of the resamples.
    """
    if of_first is None or of_second is None:
        return _unpaired(first, second)
    values = [dict(zip(one.names, one.values.tolist(), strict=True)) for one in (of_first, of_second)]
    both = sorted(values[0].keys() & values[1].keys())
    if not both:
        return _unpaired(first, second)
    one, other = (np.array([found[name] for name in both]) for found in values)
    names = np.array(both)
    if names.shape[1] == 2:
        genes = np.unique(names, return_inverse=True)[1].reshape(-1, 2)
        difference = difference_of_pairs(one, other, genes)
    else:
        difference = difference_of_means(one, other, seed)
        p_value = smaller_by_student(np.array([difference.p_value]), (one - other)[None])
        difference = replace(difference, p_value=float(p_value[0]))
    gain = (one - other) * (1.0 if first.higher_is_better else -1.0)
    left_out = len(of_first.names) + len(of_second.names) - 2 * len(both)
    return ScoreDifference(first, second, difference, paired=True, left_out=left_out, moved=movers(gain, names))


def _unpaired(first: ScoreInfo, second: ScoreInfo) -> ScoreDifference:
    """From two values with their intervals, as of independent samples (Newcombe 1998; Donner and Zou 2012, MOVER)."""
    value = first.value - second.value
    below = np.hypot(first.value - first.ci_low, second.ci_high - second.value)
    above = np.hypot(first.ci_high - first.value, second.value - second.ci_low)
    towards = below if value > 0 else above
    z = float(special.ndtri(0.5 + LEVEL / 2))
    p_value = 1.0 if value == 0 else float(2 * special.ndtr(-z * abs(value) / towards)) if towards > 0 else 0.0
    n = min(first.n, second.n)
    return ScoreDifference(
        first, second, Difference(value, value - float(below), value + float(above), p_value, n), paired=False
    )
