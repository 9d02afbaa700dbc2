"""Which of two models is better on a task? Paired on what both were scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from phenobench.errors import InputError, unknown
from phenobench.metrics.paired import Difference, difference_of_means, difference_of_pairs
from phenobench.tasks.outcome import FEW_PAIRS, FEW_PERTURBATIONS

_PAIR = ["entity1", "entity2"]
# Columns by which items fall into several scores.
_SUBSETS = ("source", "direction")


@dataclass(frozen=True)
class Comparison:
    """Two scores and their difference, first minus second, on what both models were scored on.

    Attributes:
        first: score of the first model.
        second: score of the second.
        difference: with interval and p-value.
        unit: what was averaged over, and resampled ("pairs": their genes).
        too_few: the interval rests on fewer than 50 perturbations or 100 pairs.
        left_out: perturbations, or pairs, that only one of the two was scored on.
    """

    first: float
    second: float
    difference: Difference
    unit: str
    too_few: bool
    left_out: int


def compare(first: pd.DataFrame, second: pd.DataFrame, value: str, *, seed: int = 0) -> Comparison:
    """Compare the items of one score of two models, both of the same task, variant and screen.

    Items with ``entity1`` and ``entity2`` are gene pairs; others are averaged by perturbation, as the
    tasks do. Items without a value were not scored.

    Args:
        first: items of the first model, of one source or direction.
        second: items of the second.
        value: the column that is averaged, such as ``average_precision``, ``hit`` or ``hit@10``.
        seed: of the resamples of perturbations.

    Raises:
        InputError: a missing column, items of several scores, or nothing that both were scored on.
    """
    of_pairs = all(name in items for items in (first, second) for name in _PAIR)
    key = _PAIR if of_pairs else ["perturbation"]
    one, two = (_values(items, value, key) for items in (first, second))
    both = one.index.intersection(two.index, sort=True)
    unit = "pairs" if of_pairs else "perturbations"
    if not len(both):
        raise InputError(f"the two models have no {unit} in common; compare results of one screen")
    a, b = one[both].to_numpy(), two[both].to_numpy()
    if of_pairs:
        genes = pd.factorize(both.to_frame().to_numpy(dtype=object).ravel(), sort=True)[0].reshape(-1, 2)
        difference, few = difference_of_pairs(a, b, genes), FEW_PAIRS
    else:
        difference, few = difference_of_means(a, b, seed), FEW_PERTURBATIONS
    left_out = len(one) + len(two) - 2 * len(both)
    return Comparison(float(np.mean(a)), float(np.mean(b)), difference, unit, len(both) < few, left_out)


def _values(items: pd.DataFrame, value: str, key: list[str]) -> pd.Series:
    """Mean value of each perturbation or pair, sorted."""
    for name in [value, *key]:
        if name not in items:
            raise unknown("column of the items", name, map(str, items.columns))
    for name in _SUBSETS:
        if name in items and items[name].nunique() > 1:
            several = ", ".join(sorted(map(str, items[name].unique())))
            raise InputError(f"the items are of several scores ({name}: {several}); compare one at a time")
    return items.dropna(subset=[value]).groupby(key, sort=True)[value].mean()
