"""Places and groups against a plain count of paired comparisons, and against planted truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from phenobench.item_values import Values
from phenobench.leaderboard.groups import Standing, stand
from phenobench.metrics.paired import difference_of_means, difference_of_pairs
from phenobench.metrics.significance import holm


def model(values: np.ndarray, first: int = 0) -> Values:
    return Values(tuple((f"p{first + number:04d}",) for number in range(len(values))), values)


def models(seed: int, k: int, n: int, spread: float) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    easy = rng.beta(0.6, 1.8, n)
    return [np.clip(easy + rng.normal(0, spread) + rng.normal(0, 0.1, n), 0, 1) for _ in range(k)]


def apart(standings: list[Standing]) -> set[tuple[int, int]]:
    """Pairs that share no letter."""
    letters = [set(standing.group.split()) for standing in standings]
    return {(i, j) for i, j in combinations(range(len(letters)), 2) if not letters[i] & letters[j]}


@pytest.mark.parametrize("seed", range(4))
def test_places_and_groups_are_those_of_counting_paired_comparisons(seed: int) -> None:
    values = models(seed, k=7, n=45, spread=0.06)
    pairs = list(combinations(range(7), 2))
    found = [difference_of_means(values[i], values[j], 0) for i, j in pairs]
    told = holm([difference.p_value for difference in found]) <= 0.05
    better, worse = [0] * 7, [0] * 7
    for (i, j), difference, known in zip(pairs, found, told, strict=True):
        if known:
            winner, loser = (i, j) if difference.value > 0 else (j, i)
            worse[winner] += 1
            better[loser] += 1
    standings = stand([model(one) for one in values], higher_is_better=True)
    assert [standing.rank for standing in standings] == [
        (1 + above, 7 - below) for above, below in zip(better, worse, strict=True)
    ]
    assert apart(standings) == {pair for pair, known in zip(pairs, told, strict=True) if known}
    assert 0 < sum(told) < len(pairs)


def test_gene_pairs_are_compared_as_sets_that_share_genes() -> None:
    rng = np.random.default_rng(1)
    genes = [(f"g{i:02d}", f"g{j:02d}") for i, j in combinations(range(40), 2) if i // 5 == j // 5]
    codes = np.array([(int(one[1:]), int(other[1:])) for one, other in genes])
    hits = [(rng.random(len(genes)) < share).astype(float) for share in (0.9, 0.7, 0.2)]
    standings = stand([Values(tuple(genes), one) for one in hits], higher_is_better=True)
    p_values = [difference_of_pairs(hits[i], hits[j], codes).p_value for i, j in combinations(range(3), 2)]
    wanted = {pair for pair, p in zip(combinations(range(3), 2), holm(p_values), strict=True) if p <= 0.05}
    assert apart(standings) == wanted == {(0, 1), (0, 2), (1, 2)}
    assert [standing.rank for standing in standings] == [(1, 1), (2, 2), (3, 3)]


def test_planted_ties_share_places_and_groups() -> None:
    rng = np.random.default_rng(2)
    easy = rng.random(80)
    found = stand(
        [model(easy + level + 0.02 * rng.standard_normal(80)) for level in (0.4, 0.4, 0.2, 0.2, 0.0)],
        higher_is_better=True,
    )
    assert [one.rank for one in found] == [(1, 2), (1, 2), (3, 4), (3, 4), (5, 5)]
    assert [one.group for one in found] == ["a", "a", "b", "b", "c"]


def test_lower_is_better_turns_the_order() -> None:
    values = [model(one) for one in models(3, k=4, n=60, spread=0.2)]
    up, down = (stand(values, higher_is_better=higher) for higher in (True, False))
    assert [one.rank for one in down] == [(5 - worst, 5 - best) for best, worst in (one.rank for one in up)]
    assert [one.group for one in down] == [one.group for one in up]


def test_equal_models_are_told_apart_in_one_table_of_twenty_at_most() -> None:
    rng = np.random.default_rng(4)
    tables, wrong = 150, 0
    for _ in range(tables):
        easy = rng.beta(0.6, 1.8, 50)
        wrong += bool(apart(stand([model(easy + rng.normal(0, 0.1, 50)) for _ in range(6)], higher_is_better=True)))
    assert wrong / tables < 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)


def test_thirty_models_that_all_differ_are_all_told_apart() -> None:
    # 435 pairs: resamples alone, which say no less than 2 in 10,000, would tell none apart after correction.
    rng = np.random.default_rng(5)
    easy = rng.random(100)
    found = stand(
        [model(easy - 0.1 * number + 0.01 * rng.standard_normal(100)) for number in range(30)], higher_is_better=True
    )
    assert [one.rank for one in found] == [(place, place) for place in range(1, 31)]
    assert [one.group for one in found][24:28] == ["y", "z", "aa", "ab"]


def test_models_are_compared_on_what_both_were_scored_on() -> None:
    rng = np.random.default_rng(6)
    easy = rng.random(120)
    # The second was scored on the easy half alone, where the first is better.
    order = np.argsort(easy)
    first = Values(tuple((f"p{number:03d}",) for number in range(120)), easy[order] + 0.05)
    second = Values(first.names[60:], easy[order][60:] + 0.01 * rng.standard_normal(60))
    assert second.values.mean() > first.values.mean()
    assert [one.rank for one in stand([second, first], higher_is_better=True)] == [(2, 2), (1, 1)]


def test_models_with_nothing_in_common_may_take_any_place() -> None:
    one, other = model(np.linspace(0.8, 0.9, 50)), model(np.linspace(0.0, 0.1, 50), first=500)
    assert stand([one, other, None], higher_is_better=True) == [Standing((1, 3), "a")] * 3


def test_a_model_alone_is_first() -> None:
    assert stand([model(np.array([0.5]))], higher_is_better=True) == [Standing((1, 1), "a")]
    assert stand([], higher_is_better=True) == []
