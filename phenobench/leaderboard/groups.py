"""Which places the paired comparisons of a column leave open to each model, and who cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase

import numpy as np

from phenobench.item_values import Names, Values
from phenobench.metrics.paired import LEVEL, p_values_of_means, p_values_of_pairs
from phenobench.metrics.significance import holm

# Of the resamples, as the paired comparison of two models has it.
_SEED = 0


@dataclass(frozen=True)
class Standing:
    """A model's place among those that it is compared with.

    Attributes:
        rank: best and worst place: 1 + the models that are better, and their number - the models that are worse.
        group: letters in the order of the alphabet. Two models share one exactly when they cannot be told apart.
    """

    rank: tuple[int, int]
    group: str


def stand(models: Sequence[Values | None], *, higher_is_better: bool) -> list[Standing]:
    """The places of the models of one column, by paired comparison of every two on what both were scored on.

    One model is better than another where their difference has p at most 0.05 (``metrics.paired``)
    after Holm's correction over all pairs of the column. Models without values are told apart from
    none, and take any place.

    Args:
        models: what each score is the mean of, the best score first.
        higher_is_better: the direction of the metric.
    """
    pairs = np.array(list(combinations(range(len(models)), 2)), dtype=np.int64).reshape(-1, 2)
    change, p_values = _compare(models, pairs)
    apart = holm(p_values) <= 1 - LEVEL
    better, worse = np.zeros(len(models), dtype=np.int64), np.zeros(len(models), dtype=np.int64)
    for (one, other), gain in zip(pairs[apart].tolist(), change[apart].tolist(), strict=True):
        winner, loser = (one, other) if (gain > 0) == higher_is_better else (other, one)
        worse[winner] += 1
        better[loser] += 1
    letters = _letters(len(models), {(int(one), int(other)) for one, other in pairs[apart]})
    return [
        Standing((1 + int(above), len(models) - int(below)), group)
        for above, below, group in zip(better, worse, letters, strict=True)
    ]


def _compare(models: Sequence[Values | None], pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences (first minus second) and p-values of pairs of models, NaN where nothing is in common."""
    change, p_values = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    known = {row: model for row, model in enumerate(models) if model is not None}
    # Pairs that have the same names in common go together; as a rule these are all. Names are many and compared but
    # once: models that have the same are of one kind.
    kinds: dict[Names, int] = {}
    kind = {row: kinds.setdefault(model.names, len(kinds)) for row, model in known.items()}
    of_kinds: dict[tuple[int, int], list[int]] = {}
    for number, (one, other) in enumerate(pairs.tolist()):
        if one in known and other in known:
            of_kinds.setdefault((kind[one], kind[other]), []).append(number)
    names_of = list(kinds)
    together: dict[Names, list[int]] = {}
    for (one, other), numbers in of_kinds.items():
        together.setdefault(_common(names_of[one], names_of[other]), []).extend(numbers)
    for names, numbers in together.items():
        if names:
            rows, places = np.unique(pairs[numbers], return_inverse=True)
            places = places.reshape(-1, 2)
            values = np.array([_values_of(known[row], names) for row in rows.tolist()])
            means = values.mean(axis=1)
            change[numbers] = means[places[:, 0]] - means[places[:, 1]]
            p_values[numbers] = _p_values(values, places, names)
    return change, p_values


def _common(first: Names, second: Names) -> Names:
    return first if first is second else tuple(sorted(set(first) & set(second)))


def _values_of(model: Values, names: Names) -> np.ndarray:
    if model.names == names:
        return model.values
    place = {name: row for row, name in enumerate(model.names)}
    return model.values[[place[name] for name in names]]


def _p_values(values: np.ndarray, pairs: np.ndarray, names: Names) -> np.ndarray:
    if len(names[0]) == 1:
        return p_values_of_means(values, pairs, _SEED)
    genes = np.unique(np.array(names).ravel(), return_inverse=True)[1].reshape(-1, 2)
    return p_values_of_pairs(values, pairs, genes)


def _letters(n: int, apart: set[tuple[int, int]]) -> list[str]:
    """A compact letter display: insert and absorb (Piepho 2004, J. Comput. Graph. Stat. 13:456).

    Args:
        n: models, the best first.
        apart: pairs that can be told apart.
    """
    # A group is a number whose bits are its models.
    groups = {(1 << n) - 1}
    for one, other in sorted(apart):
        both = 1 << one | 1 << other
        torn = {group for group in groups if group & both == both}
        groups -= torn
        halves = {group & ~(1 << model) for group in torn for model in (one, other)}
        # A group inside another says nothing new; those that stayed whole are inside none.
        wider = [*groups, *halves]
        groups |= {half for half in halves if not any(half & ~group == 0 and half != group for group in wider)}
    members = sorted([model for model in range(n) if group >> model & 1] for group in groups)
    letters: list[list[str]] = [[] for _ in range(n)]
    for number, models in enumerate(members):
        for model in models:
            letters[model].append(_name(number))
    return [" ".join(own) for own in letters]


def _name(number: int) -> str:
    """The letters a to z, then aa, ab, ..."""
    rest, last = divmod(number, len(ascii_lowercase))
    return (_name(rest - 1) if rest else "") + ascii_lowercase[last]
