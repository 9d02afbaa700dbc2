from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from phenobench.errors import InputError
from phenobench.metrics.influence import most_influential_group
from phenobench.metrics.paired import (
    difference_of_means,
    difference_of_pairs,
    p_values_of_means,
    p_values_of_pairs,
    smaller_by_student,
)

CLIQUES = np.array([pair for pair in combinations(range(60), 2) if pair[0] // 4 == pair[1] // 4])


def scores(rng: np.random.Generator, n: int, second_noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy versions of skewed values in [0, 1], as average precision has them."""
    base = rng.beta(0.6, 1.8, n)
    first, second = (base + scale * rng.standard_normal(n) for scale in (0.1, second_noise))
    return np.clip(first, 0, 1), np.clip(second, 0, 1)


def hits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two models' hits of the pairs of 15 complexes: what complex and gene share is in both, noise by gene is not."""
    strength = np.repeat(rng.standard_normal(15), 4) + 0.5 * rng.standard_normal(60)
    found = []
    for _ in range(2):
        gene = strength + 0.7 * rng.standard_normal(60)
        found.append((gene[CLIQUES].sum(axis=1) + 0.7 * rng.standard_normal(len(CLIQUES)) > 0).astype(np.float64))
    return found[0], found[1]


# Means over perturbations


@pytest.mark.parametrize("n", [12, 50])
def test_equal_models_are_told_apart_as_often_as_the_level_says(n: int) -> None:
    drawn = [scores(np.random.default_rng([n, seed]), n) for seed in range(300)]
    p = np.array([difference_of_means(*pair, seed).p_value for seed, pair in enumerate(drawn)])
    assert abs((p < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 300)


def test_the_p_value_is_near_that_of_the_paired_t_test() -> None:
    first, second = scores(np.random.default_rng(3), 100)
    for shift in (0.0, 0.01, 0.02, 0.03):
        wanted = stats.ttest_rel(first + shift, second).pvalue
        assert difference_of_means(first + shift, second, 0).p_value == pytest.approx(wanted, abs=0.02, rel=0.2)


def test_pairing_finds_what_an_unpaired_test_misses() -> None:
    first, second = scores(np.random.default_rng(4), 80)
    difference = difference_of_means(first + 0.06, second, 0)
    assert difference.p_value < 0.01
    assert stats.ttest_ind(first + 0.06, second).pvalue > 0.1


def test_interval_and_p_value_agree() -> None:
    for seed in range(40):
        first, second = scores(np.random.default_rng([5, seed]), 30, second_noise=0.2)
        difference = difference_of_means(first + 0.04, second, seed)
        assert difference.ci_low <= difference.value <= difference.ci_high
        if abs(difference.p_value - 0.05) > 0.003:
            assert (difference.p_value < 0.05) == (not difference.ci_low <= 0 <= difference.ci_high)


def test_swapping_the_models_turns_the_sign() -> None:
    first, second = scores(np.random.default_rng(6), 30)
    one, other = difference_of_means(first, second, 2), difference_of_means(second, first, 2)
    assert (one.value, one.p_value) == (-other.value, other.p_value)
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low))


def test_a_model_does_not_differ_from_itself() -> None:
    first, _ = scores(np.random.default_rng(7), 30)
    itself = difference_of_means(first, first, 0)
    assert (itself.value, itself.ci_low, itself.ci_high, itself.p_value) == (0, 0, 0, 1)
    found, _ = hits(np.random.default_rng(7))
    itself = difference_of_pairs(found, found, CLIQUES)
    assert (itself.value, itself.ci_low, itself.ci_high, itself.p_value) == (0, 0, 0, 1)


def test_one_perturbation_says_nothing() -> None:
    alone = difference_of_means(np.array([1.0]), np.array([0.0]), 0)
    assert (alone.value, alone.p_value) == (1.0, 1.0)
    assert np.isinf([alone.ci_low, alone.ci_high]).all()


def test_values_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="3 and 2 values"):
        difference_of_means(np.zeros(3), np.zeros(2), 0)
    with pytest.raises(InputError, match="0 and 0 values"):
        difference_of_pairs(np.zeros(0), np.zeros(0), np.zeros((0, 2), dtype=int))


# Many pairs of models at once

PAIRS_OF_MODELS = np.array(list(combinations(range(5), 2)))


# Beyond 2,000 perturbations the resamples are drawn in blocks and not remembered.
@pytest.mark.parametrize("n", [2, 15, 184, 2_400])
def test_many_pairs_at_once_give_the_p_values_of_each(n: int) -> None:
    rng = np.random.default_rng([13, n])
    base, levels = rng.beta(0.6, 1.8, n), np.array([0.0, 0.0, 0.02, 0.04, 0.3])
    values = base + levels[:, None] / np.sqrt(n / 15) + 0.1 * rng.standard_normal((5, n))
    values[1] = values[0]
    alone = np.array([difference_of_means(values[i], values[j], 7).p_value for i, j in PAIRS_OF_MODELS])
    together = p_values_of_means(values, PAIRS_OF_MODELS, 7)
    assert together[0] == 1
    decided = alone > alone.min() if n > 15 else np.ones(10, dtype=bool)
    assert decided.sum() > 3
    np.testing.assert_allclose(together[decided], alone[decided], rtol=1e-12)
    assert (together <= alone * (1 + 1e-12)).all()


def test_one_perturbation_tells_no_models_apart() -> None:
    assert p_values_of_means(np.array([[0.1], [0.9]]), np.array([[0, 1]]), 0).tolist() == [1]
    assert p_values_of_means(np.array([[0.1, 0.2]]), np.zeros((0, 2), dtype=int), 0).tolist() == []


def test_below_what_resamples_can_say_the_p_value_is_that_of_t_with_the_variance_under_no_difference() -> None:
    first, second = scores(np.random.default_rng(14), 80)
    values = np.stack([first + 0.3, second])
    t, student = stats.ttest_rel(*values)
    wanted = 2 * stats.t.sf(t / np.sqrt(1 + t * t / 79), 79)
    found = p_values_of_means(values, np.array([[0, 1]]), 0)[0]
    assert found == pytest.approx(wanted, rel=1e-6)
    assert student < found < 1e-6


def test_few_perturbations_prove_little_however_much_they_are_alike() -> None:
    for n in (2, 5, 10):
        least = difference_of_means(np.full(n, 0.5), np.full(n, 0.2), 0).p_value
        assert smaller_by_student(np.array([least]), np.full((1, n), 0.3)).tolist() == [least]
    # A coin that shows heads 60 times of 60.
    assert 2.0**-59 < smaller_by_student(np.array([1e-4]), np.full((1, 60), 0.3))[0] < 1e-7


def test_many_pairs_of_models_of_gene_pairs_give_the_p_values_of_each() -> None:
    drawn = [found for seed in range(3) for found in hits(np.random.default_rng([15, seed]))]
    values = np.array([*drawn[:4], drawn[0]])
    alone = [difference_of_pairs(values[i], values[j], CLIQUES).p_value for i, j in PAIRS_OF_MODELS]
    np.testing.assert_allclose(p_values_of_pairs(values, PAIRS_OF_MODELS, CLIQUES), alone, rtol=1e-10)
    assert alone[3] == 1


# Shares of gene pairs


def test_equal_models_of_gene_pairs_are_told_apart_as_often_as_the_level_says() -> None:
    p = np.array([difference_of_pairs(*hits(np.random.default_rng([8, s])), CLIQUES).p_value for s in range(1500)])
    assert abs((p < 0.05).mean() - 0.05) < 0.015 + 2 * np.sqrt(0.05 * 0.95 / 1500)


def test_pairs_without_a_common_gene_are_independent() -> None:
    rng = np.random.default_rng(9)
    pairs = np.arange(400).reshape(-1, 2)
    first, second = rng.random(200), rng.random(200)
    wanted = stats.ttest_1samp(first - second, 0).pvalue
    assert difference_of_pairs(first, second, pairs).p_value == pytest.approx(wanted, abs=0.02)


def test_pairs_of_one_gene_weigh_less_than_independent_ones() -> None:
    # A gene's own noise is in all of its pairs: two genes in 50 pairs each are worth far less than 100 pairs.
    noise = np.random.default_rng(10).standard_normal(102)
    stars = np.column_stack([np.repeat([0, 1], 50), np.arange(2, 102)])
    change = 0.3 * noise[stars].sum(axis=1)
    zero = np.zeros(100)
    together = difference_of_pairs(change, zero, stars)
    apart = difference_of_pairs(change, zero, np.arange(200).reshape(-1, 2))
    assert together.value == apart.value
    assert together.ci_high - together.ci_low > 2 * (apart.ci_high - apart.ci_low)


def test_pairs_that_all_change_alike_are_no_proof_when_few() -> None:
    pairs = np.array([[0, 1], [2, 3], [4, 5]])
    assert difference_of_pairs(np.ones(3), np.zeros(3), pairs).p_value > 0.05


# Leaving a complex out


def test_the_complex_that_carries_the_score_is_found() -> None:
    large = np.array(list(combinations(range(100, 112), 2)))
    pairs = np.concatenate([CLIQUES, large])
    found = np.concatenate([np.zeros(len(CLIQUES)), np.ones(len(large))])
    influence = most_influential_group(found, pairs)
    assert influence.genes.tolist() == list(range(100, 112))
    assert influence.n_pairs == len(large) == 66
    assert influence.share == pytest.approx(66 / (66 + len(CLIQUES)))
    assert influence.share_without == 0


def test_leaving_out_agrees_with_counting() -> None:
    rng = np.random.default_rng(12)
    pairs = np.array(
        sorted({tuple(sorted(pair)) for pair in rng.integers(0, 25, (90, 2)).tolist() if pair[0] != pair[1]})
    )
    found = rng.random(len(pairs))
    influence = most_influential_group(found, pairs)
    moves = {}
    for gene in range(25):
        group = {gene, *pairs[(pairs == gene).any(axis=1)].ravel().tolist()}
        inside = np.array([set(pair) <= group for pair in pairs.tolist()])
        moves[gene] = abs(found[~inside].mean() - found.mean())
        if gene == influence.hub:
            assert influence.n_pairs == inside.sum()
            assert influence.share_without == pytest.approx(found[~inside].mean())
            assert influence.genes.tolist() == sorted(group)
    assert moves[influence.hub] == pytest.approx(max(moves.values()))


def test_a_single_complex_leaves_nothing_to_compare_with() -> None:
    influence = most_influential_group(np.ones(3), np.array([[3, 4], [3, 5], [4, 5]]))
    assert influence.genes.tolist() == [3, 4, 5]
    assert np.isnan(influence.share_without)
    with pytest.raises(InputError, match="no annotated pair"):
        most_influential_group(np.zeros(0), np.zeros((0, 2), dtype=int))
