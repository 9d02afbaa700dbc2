from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from phenobench.metrics.intervals import (
    bootstrap_mean,
    mean_reciprocal_rank,
    median_interval,
    proportion_of_pairs,
    wilson,
)
from phenobench.metrics.tails import Edge, edge_of_tails

Interval = tuple[float, float]


def coverage(draw: Callable[[np.random.Generator], tuple[float, Interval]], repetitions: int) -> float:
    """Share of intervals that contain the truth."""
    inside = 0
    for seed in range(repetitions):
        truth, (low, high) = draw(np.random.default_rng([17, seed]))
        inside += low <= truth <= high
    return inside / repetitions


# Wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 1), (3, 10), (50, 100), (97, 100), (10, 10), (123, 4567)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    wanted = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 1e6))
def test_wilson_contains_the_share_and_stays_a_proportion(share: float, n: float) -> None:
    low, high = wilson(share, n)
    assert 0 <= low <= share <= high <= 1


# Means over perturbations


def ap_like(rng: np.random.Generator, n: int) -> tuple[float, Interval]:
    """Skewed values in [0, 1] with mean 0.25, as average precision has them."""
    return 0.25, bootstrap_mean(rng.beta(0.6, 1.8, n), seed=0)


def test_the_bootstrap_covers_the_mean_of_skewed_values() -> None:
    assert 0.93 <= coverage(lambda rng: ap_like(rng, 60), 1200) <= 0.97


def test_the_bootstrap_covers_with_few_perturbations() -> None:
    # Plain percentiles of ten values cover about 0.90.
    assert 0.915 <= coverage(lambda rng: ap_like(rng, 10), 1200) <= 0.97


def test_the_bootstrap_has_the_width_of_student_t() -> None:
    half = np.random.default_rng(1).standard_normal(15)
    values = np.concatenate([half, -half])
    low, high = bootstrap_mean(values, seed=3)
    wanted = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(wanted, abs=0.06 * (wanted[1] - wanted[0]))


def test_the_bootstrap_depends_on_values_and_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from phenobench.metrics import intervals

    values = np.random.default_rng(2).beta(1, 3, 40)
    first = bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5) == first
    assert bootstrap_mean(values, seed=6) != first
    monkeypatch.setattr(intervals, "_BLOCK_CELLS", 100)
    assert bootstrap_mean(values, seed=5) == first


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_bootstrap_contains_the_mean(values: list[float]) -> None:
    low, high = bootstrap_mean(np.array(values), seed=0)
    assert low <= float(np.mean(values)) <= high


def test_equal_values_have_no_width_and_one_value_no_interval() -> None:
    assert bootstrap_mean(np.full(12, 0.5), seed=0) == (0.5, 0.5)
    assert bootstrap_mean(np.array([0.5]), seed=0) == (float("-inf"), float("inf"))


# Shares of pairs


def random_pairs(rng: np.random.Generator, n: int, m: int) -> np.ndarray:
    one, two = np.triu_indices(n, 1)
    chosen = rng.choice(len(one), m, replace=False)
    return np.column_stack([one[chosen], two[chosen]])


def no_signal(rng: np.random.Generator, n: int, m: int) -> tuple[float, Interval]:
    """Annotated pairs of a random embedding: hits are the tenth of all pairs in both tails of its cosines."""
    units = rng.standard_normal((n, 8))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ units.T
    low, high = np.quantile(cosines[np.triu_indices(n, 1)], [0.05, 0.95])
    pairs = random_pairs(rng, n, m)
    values = cosines[pairs[:, 0], pairs[:, 1]]
    return 0.1, proportion_of_pairs(((values <= low) | (values >= high)).astype(float), pairs)


def gene_effects(rng: np.random.Generator, n: int, m: int, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose hit depends on an effect of each of both genes."""
    pairs = random_pairs(rng, n, m)
    effect = sd * rng.standard_normal(n)
    hits = rng.random(m) < special.expit(effect[pairs].sum(axis=1) - 1)
    return hits.astype(float), pairs


def true_share(sd: float) -> float:
    """E[expit(sqrt(2) sd z - 1)] by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ special.expit(np.sqrt(2) * sd * nodes - 1) / weights.sum())


def test_pairs_of_noise_are_covered() -> None:
    # 300 of 11,175 pairs: drawing without replacement narrows nothing yet.
    assert 0.93 <= coverage(lambda rng: no_signal(rng, 150, 300), 600) <= 0.975


@pytest.mark.parametrize(("n", "m", "sd"), [(50, 100, 1.5), (80, 400, 1.5), (150, 1000, 0.7)])
def test_pairs_that_share_genes_are_covered_where_the_naive_interval_fails(n: int, m: int, sd: float) -> None:
    truth = true_share(sd)
    ours = coverage(lambda rng: (truth, proportion_of_pairs(*gene_effects(rng, n, m, sd))), 1200)
    naive = coverage(lambda rng: (truth, wilson(float(gene_effects(rng, n, m, sd)[0].mean()), m)), 1200)
    assert 0.925 <= ours <= 0.97
    assert naive < 0.85


def test_independent_pairs_cost_no_width() -> None:
    ours, naive = [], []
    for seed in range(300):
        hits, pairs = gene_effects(np.random.default_rng(seed), 100, 500, 0.0)
        low, high = proportion_of_pairs(hits, pairs)
        ours.append(high - low)
        low, high = wilson(float(hits.mean()), 500)
        naive.append(high - low)
    assert 0.98 <= np.mean(ours) / np.mean(naive) < 1.1


def test_the_variance_is_that_of_the_jackknife_over_genes() -> None:
    # Leaving out a gene with all its pairs, less each pair's own noise, which two genes carry.
    rng = np.random.default_rng(7)
    hits, pairs = gene_effects(rng, 60, 300, 1.5)
    share, m = hits.mean(), len(hits)
    apart = np.array([hits[(pairs != gene).all(axis=1)].mean() for gene in range(60)]) - share
    own = float(((hits - share) ** 2).sum()) / m**2
    n = m * own / (float(apart @ apart) - own)
    degree = np.bincount(pairs.ravel())
    width = float(stats.t.ppf(0.975, degree.sum() ** 2 / (degree**2).sum() - 1))
    assert proportion_of_pairs(hits, pairs) == pytest.approx(wilson(float(share), n, width), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=15))
def test_the_interval_contains_the_share(rows: list[tuple[int, int, float]]) -> None:
    hits = np.array([hit for _, _, hit in rows])
    pairs = np.array([(one, one + 1 + two) for one, two, _ in rows])
    low, high = proportion_of_pairs(hits, pairs)
    assert 0 <= low <= hits.mean() + 1e-15
    assert hits.mean() - 1e-15 <= high <= 1


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_equal_hits_still_have_a_width(value: float) -> None:
    low, high = proportion_of_pairs(np.full(40, value), random_pairs(np.random.default_rng(8), 20, 40))
    assert high - low > 0.05
    assert low <= value <= high


def test_pairs_of_one_gene_are_worth_little() -> None:
    star = np.column_stack([np.zeros(30, dtype=int), np.arange(1, 31)])
    apart = np.arange(60).reshape(30, 2)
    hits = np.arange(30) % 3 == 0
    low, high = proportion_of_pairs(hits.astype(float), star)
    free_low, free_high = proportion_of_pairs(hits.astype(float), apart)
    assert high - low > 1.3 * (free_high - free_low)


# Tails of a fixed size


def crowded(rng: np.random.Generator, n: int, m: int, slots: int, shift: float) -> tuple[float, Interval, Interval]:
    """Share of m annotated among n pairs that stand in the first so many places; both intervals."""
    scores = rng.standard_normal(n)
    scores[:m] += shift
    place = scores.argsort().argsort()[:m].astype(np.int64)
    hits = (place >= n - slots).astype(float)
    pairs = np.arange(2 * m).reshape(m, 2)
    edge = edge_of_tails(place, place + 1, n, (0.0, 1 - slots / n), float(hits.sum()))
    return float(hits.mean()), proportion_of_pairs(hits, pairs), proportion_of_pairs(hits, pairs, edge)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_a_crowded_tail_leaves_less_to_chance(shift: float) -> None:
    found = [crowded(np.random.default_rng([5, seed]), 1000, 200, 100, shift) for seed in range(600)]
    truth = float(np.mean([share for share, _, _ in found]))
    free, tied = (
        float(np.mean([low <= truth <= high for low, high in each])) for each in list(zip(*found, strict=True))[1:]
    )
    assert 0.93 <= tied <= 0.98
    assert tied < free
    if shift:
        assert free > 0.98


def test_the_edge_is_what_stands_around_both_ends() -> None:
    # Tails of 100 places each end at 100 and 900; 75 to 125 and 875 to 925 are their edges.
    below = np.array([10, 80, 99, 120, 300, 899, 950])
    edge = edge_of_tails(below, below + 1, 1000, (0.1, 0.9), 4.0)
    assert edge.annotated == pytest.approx(4 / 100)
    assert edge.others == pytest.approx(196)
    everything = np.arange(1000)
    assert edge_of_tails(everything, everything + 1, 1000, (0.1, 0.9), 200.0) == Edge(0.5, 0.0)
    tied = np.zeros(5, dtype=int)
    assert edge_of_tails(tied, tied + 1000, 1000, (0.1, 0.9), 1.0).annotated == 0.0


# Reciprocal ranks


def random_ranks(rng: np.random.Generator, n: int, candidates: int) -> np.ndarray:
    return np.asarray(1.0 / rng.integers(1, candidates + 1, n))


@pytest.mark.parametrize(("n", "candidates"), [(60, 60), (80, 500)])
def test_reciprocal_ranks_at_chance_are_covered_where_the_bootstrap_fails(n: int, candidates: int) -> None:
    truth = float((1.0 / np.arange(1, candidates + 1)).mean())

    def ours(rng: np.random.Generator) -> tuple[float, Interval]:
        return truth, mean_reciprocal_rank(random_ranks(rng, n, candidates), candidates, seed=0)

    def plain(rng: np.random.Generator) -> tuple[float, Interval]:
        return truth, bootstrap_mean(random_ranks(rng, n, candidates), seed=0)

    assert 0.93 <= coverage(ours, 400) <= 0.985
    assert coverage(plain, 400) < 0.925


def test_reciprocal_ranks_far_from_chance_have_the_interval_of_the_bootstrap() -> None:
    values = np.random.default_rng(11).choice([1.0, 0.5, 0.1], 80)
    assert mean_reciprocal_rank(values, 80, seed=2) == bootstrap_mean(values, seed=2)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_the_interval_of_reciprocal_ranks_contains_their_mean(ranks: list[int]) -> None:
    values = 1.0 / np.array(ranks)
    low, high = mean_reciprocal_rank(values, 9, seed=0)
    assert low <= float(values.mean()) <= high
    assert mean_reciprocal_rank(values, 1, seed=0) == bootstrap_mean(values, seed=0)


# Medians


def test_the_interval_of_a_median_is_between_the_classical_ones() -> None:
    # Of 100 values the 40th and the 61st hold it in 96.5 %, the 41st and the 60th in 94.3 % (binomial distribution).
    low, high = median_interval(np.arange(1.0, 101.0))
    assert 40 < low < 41
    assert low + high == pytest.approx(101)
    assert median_interval(np.array([3.0, 1.0, 2.0])) == (1.0, 3.0)
    assert median_interval(np.full(30, 7.0)) == (7.0, 7.0)


def test_the_interval_of_a_median_covers_it() -> None:
    rng = np.random.default_rng(3)
    hits = sum(
        low <= 1.0 <= high for low, high in (median_interval(np.exp(rng.standard_normal(60))) for _ in range(2000))
    )
    assert 0.94 < hits / 2000 < 0.965


def test_equal_ranks_are_spread_over_their_unit() -> None:
    # Half of the ranks are 1 and half are 2: the median of grouped data is at the bound between them.
    low, high = median_interval(np.repeat([1.0, 2.0], 50), unit=1.0)
    assert 1 < low < 1.5 < high < 2
    assert low + high == pytest.approx(3)
    assert median_interval(np.repeat([1.0, 2.0], 50)) == (1.0, 2.0)
