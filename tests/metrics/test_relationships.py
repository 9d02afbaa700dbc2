from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenobench.errors import InputError
from phenobench.metrics import relationship_recall, relationships
from phenobench.metrics.relationships import cosine_map
from phenobench.metrics.similarity import levels
from phenobench.metrics.units import unit_rows
from tests.shared import shared

TailTies = Literal["expected", "strict"]
BOTH: tuple[TailTies, ...] = ("expected", "strict")


def letters(n: int) -> list[str]:
    return [f"g{i:03d}" for i in range(n)]


def every_pair(n: int) -> list[tuple[str, str]]:
    return list(combinations(letters(n), 2))


def cosines_of(features: np.ndarray) -> dict[tuple[str, str], float]:
    """Cosines of all pairs to nine decimals, so that equal ones are equal; 0 for a zero vector."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    names = letters(len(features))
    return {(names[i], names[j]): round(float(units[i] @ units[j]), 9) for i, j in combinations(range(len(names)), 2)}


def brute_hits(cosines: dict[tuple[str, str], float], low: float, high: float, ties: TailTies) -> dict[Any, float]:
    """For each pair of the map, the chance to lie in a tail: each place of its block of ties is as likely."""
    ranked = np.array(list(cosines.values()))
    total = len(ranked)
    hits = {}
    for pair, value in cosines.items():
        below, upto = int((ranked < value).sum()), int((ranked <= value).sum())
        if ties == "strict":
            hits[pair] = float(upto / total <= low or below / total >= high)
        else:
            places = range(below + 1, upto + 1)
            hits[pair] = float(np.mean([place / total <= low or (place - 1) / total >= high for place in places]))
    return hits


@pytest.mark.parametrize(("tails", "key"), [((0.05, 0.95), "recall_0.05_0.95"), ((0.1, 0.9), "recall_0.1_0.9")])
def test_strict_is_efaar_exactly(tails: tuple[float, float], key: str) -> None:
    golden = np.load(shared("goldens", "efaar.npz"))
    names = list(golden["agg_genes"])
    for i, source in enumerate(golden["recall_source"]):
        got = relationship_recall(golden["agg_mean"], names, golden[f"pairs_{source}"], tails=tails, ties="strict")
        assert got.recall == golden[key][i]
        assert got.n_pairs == golden["recall_query_distribution_size"][i]
        assert got.n_genes == len(names)
        untied = relationship_recall(golden["agg_mean"], names, golden[f"pairs_{source}"], tails=tails)
        assert untied.recall == pytest.approx(got.recall, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(*[st.integers(-1, 2)] * 2), min_size=2, max_size=12),
    st.sampled_from([(0.05, 0.95), (0.1, 0.9), (0.25, 0.75), (0.0, 0.8), (0.3, 1.0), (1 / 3, 2 / 3)]),
    st.sampled_from(BOTH),
    st.randoms(use_true_random=False),
)
def test_recall_and_chance_agree_with_brute_force(
    rows: list[tuple[int, int]], tails: tuple[float, float], ties: TailTies, random: Any
) -> None:
    features = np.array(rows, dtype=np.float64)
    hits = brute_hits(cosines_of(features), *tails, ties)
    annotated = random.sample(sorted(hits), random.randint(1, len(hits)))
    got = relationship_recall(features, letters(len(rows)), annotated, tails=tails, ties=ties)
    assert got.recall == pytest.approx(np.mean([hits[pair] for pair in annotated]), abs=1e-12)
    # A pair drawn at random from the map.
    assert got.chance == pytest.approx(np.mean(list(hits.values())), abs=1e-12)
    assert got.recall <= got.ceiling + 1e-12
    assert got.n_pairs == len(annotated)
    names = np.array(letters(len(rows)))
    by_pair = {tuple(names[pair]): float(hit) for pair, hit in zip(got.pairs, got.hits, strict=True)}
    assert by_pair == pytest.approx({pair: hits[pair] for pair in annotated}, abs=1e-12)
    everything = relationship_recall(features, letters(len(rows)), sorted(hits), tails=tails, ties=ties)
    assert everything.recall == pytest.approx(got.chance, abs=1e-12)


@pytest.mark.parametrize(
    "tails",
    [
        (0.05, 0.95),
        (0.1, 0.9),
        (0.2, 0.8),
        (1 / 3, 2 / 3),
        (0.0, 1.0),
        (0.41, 0.59),
        (float(np.nextafter(0.1, 0)), 0.9),
    ],
)
def test_places_in_the_tails_survive_rounding(tails: tuple[float, float]) -> None:
    for n in (2, 3, 4, 6, 9, 21, 25, 41):
        total = n * (n - 1) // 2
        inside = sum(place / total <= tails[0] or (place - 1) / total >= tails[1] for place in range(1, total + 1))
        got = relationship_recall(np.ones((n, 2)), letters(n), every_pair(n), tails=tails)
        assert got.chance == inside / total
        assert got.ceiling == inside / total


@pytest.mark.parametrize("value", [0.0, 1.0, -2.3])
@pytest.mark.parametrize("n_pairs", [1, 7, 100])
def test_a_constant_map_is_exactly_at_chance(value: float, n_pairs: int) -> None:
    features = np.full((40, 17), value, dtype=np.float32)
    got = relationship_recall(features, letters(40), every_pair(40)[:n_pairs])
    # 780 pairs: 39 places in each tail.
    assert got.recall == got.chance == 78 / 780
    strict = relationship_recall(features, letters(40), every_pair(40)[:n_pairs], ties="strict")
    assert strict.recall == strict.chance == 0


def test_collapsed_groups_tie_in_an_irrational_basis() -> None:
    # Three directions: pairs take six cosines, which a matrix product would scatter in their last bits.
    rng = np.random.default_rng(2)
    which = rng.integers(0, 3, 60)
    features = rng.standard_normal((3, 48))[which] * rng.lognormal(0, 2, (60, 1))
    hits = brute_hits(cosines_of(features), 0.05, 0.95, "expected")
    annotated = every_pair(60)[::7]
    got = relationship_recall(features, letters(60), annotated)
    assert got.recall == pytest.approx(np.mean([hits[pair] for pair in annotated]), abs=1e-12)
    assert len(set(got.hits)) <= 6


def test_the_ceiling_is_reached_and_not_passed() -> None:
    rng = np.random.default_rng(3)
    # 14 of 40 genes on one axis, 7 at each end: 42 pairs near cosine 1 and 49 near -1, for 39 places in each tail.
    features = np.zeros((40, 30))
    features[:14, 0] = np.repeat([1.0, -1.0], 7)
    features[:14, 1:] = 0.02 * rng.standard_normal((14, 29))
    features[14:, 1:] = rng.standard_normal((26, 29))
    got = relationship_recall(features, letters(40), every_pair(14))
    assert got.n_pairs == 91
    assert got.recall == pytest.approx(78 / 91, abs=1e-12)
    assert got.ceiling == 78 / 91
    few = relationship_recall(features, letters(40), every_pair(7))
    assert few.ceiling == 1


def test_noise_is_at_chance() -> None:
    rng = np.random.default_rng(4)
    pairs = [every_pair(30)[i] for i in rng.choice(435, 60, replace=False)]
    recalls = [relationship_recall(rng.standard_normal((30, 6)), letters(30), pairs).recall for _ in range(80)]
    # 435 pairs: 21 places in each tail.
    assert abs(np.mean(recalls) - 42 / 435) < 3.5 * np.std(recalls, ddof=1) / np.sqrt(80)


@pytest.mark.parametrize(("tile", "cells", "tasks"), [(1, 1, 1), (5, 50, 3), (36, 1, 8), (7, 333, 2)])
def test_tiles_and_tasks_do_not_matter(tile: int, cells: int, tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(5).standard_normal((37, 5)).round(1)
    whole = relationship_recall(features, letters(37), every_pair(37)[::3])
    monkeypatch.setattr(relationships, "_TILE", tile)
    monkeypatch.setattr(relationships, "_BLOCK_CELLS", cells)
    monkeypatch.setattr(relationships, "_MOST_COUNTED", 100 * cells)
    monkeypatch.setattr(relationships, "_TASKS", tasks)
    monkeypatch.setattr(relationships, "_GATHERED_CELLS", cells)
    cut = relationship_recall(features, letters(37), every_pair(37)[::3])
    assert (cut.recall, cut.chance) == (whole.recall, whole.chance)
    np.testing.assert_array_equal(cut.hits, whole.hits)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=2, max_size=15), st.floats(1e-3, 1e3))
def test_pairs_are_counted_at_the_levels_of_similarities(rows: list[tuple[int, int, int]], scale: float) -> None:
    features = np.array(rows) * scale
    cosines = cosine_map(features, letters(len(rows)))
    units = unit_rows(features)
    one, other = np.triu_indices(len(rows), k=1)
    wanted = levels(np.einsum("ij,ij->i", units[one], units[other]))
    for level in range(int(wanted.min()) - 1, int(wanted.max()) + 2, 2**16 + 1):
        assert cosines.below_level(np.array(level)) == (wanted < level).sum()
    np.testing.assert_array_equal(
        cosines.below_level(wanted.astype(np.int64)), (wanted[:, None] > wanted[None, :]).sum(axis=1)
    )
    assert cosines.n_pairs == len(one)


def test_pairs_are_undirected_distinct_and_within_the_map() -> None:
    features = np.random.default_rng(6).standard_normal((20, 4))
    wanted = relationship_recall(features, letters(20), [("g000", "g001"), ("g002", "g003")], tails=(0.3, 0.7))
    given_pairs = [
        ("g001", "g000"),
        ("g000", "g001"),
        ("g003", "g002"),
        ("g004", "g004"),
        ("g005", "absent"),
        ("absent", "neither"),
    ]
    got = relationship_recall(features, letters(20), given_pairs, tails=(0.3, 0.7))
    assert (got.recall, got.n_pairs) == (wanted.recall, 2)
    assert got.pairs.tolist() == [[0, 1], [2, 3]]
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(got.cosines, [units[0] @ units[1], units[2] @ units[3]])


def test_pairs_may_come_in_any_container() -> None:
    features = np.random.default_rng(7).standard_normal((12, 4))
    pairs = every_pair(12)[::4]
    wanted = relationship_recall(features, letters(12), pairs)
    containers: tuple[Any, ...] = (
        np.array(pairs),
        np.array(pairs, dtype=object),
        pd.DataFrame(pairs, columns=["entity1", "entity2"]),
        set(pairs),
        iter(pairs),
        [list(pair) for pair in pairs],
    )
    for other in containers:
        got = relationship_recall(features, letters(12), other)
        assert (got.recall, got.n_pairs) == (wanted.recall, wanted.n_pairs)


def test_the_order_of_rows_does_not_matter() -> None:
    features = np.random.default_rng(8).integers(-2, 3, (25, 3)).astype(float)
    order = np.random.default_rng(9).permutation(25)
    for ties in BOTH:
        wanted = relationship_recall(features, letters(25), every_pair(25)[::5], ties=ties)
        got = relationship_recall(features[order], [letters(25)[i] for i in order], every_pair(25)[::5], ties=ties)
        assert got.recall == pytest.approx(wanted.recall, abs=1e-12)
        assert got.chance == wanted.chance


@pytest.mark.parametrize("pairs", [[], [("A", "B")], np.empty((0, 2), dtype=str)])
def test_without_pairs_there_is_no_recall(pairs: Any) -> None:
    got = relationship_recall(np.eye(5), letters(5), pairs)
    assert np.isnan([got.recall, got.ceiling]).all()
    assert got.n_pairs == 0
    assert got.cosines.shape == got.hits.shape == (0,)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"names": ["A", "B", "A"]}, "the name 'A' occurs twice"),
        ({"names": ["A", "B"]}, "2 names for 3 rows"),
        ({"features": np.ones((1, 3)), "names": ["A"]}, "a map needs at least 2 rows and has 1"),
        ({"features": np.array([[1.0], [np.inf], [0.0]])}, "feature 0 of row 1 is NaN or infinite"),
        ({"tails": (0.95, 0.05)}, "tails (0.95, 0.05) are no fractions in order"),
        ({"tails": (5, 95)}, "tails (5, 95) are no fractions in order"),
        ({"ties": "expectd"}, "unknown tie rule 'expectd'; did you mean expected?"),
    ],
)
def test_bad_input_is_named(changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"features": np.eye(3), "names": ["A", "B", "C"], "pairs": [("A", "B")], **changed}
    with pytest.raises(InputError) as caught:
        relationship_recall(**arguments)
    assert isinstance(caught.value, ValueError)
    assert said in str(caught.value)
