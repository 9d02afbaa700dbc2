from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, groupby, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenobench.errors import InputError
from phenobench.metrics import average_precision, cosines, counting, ranking
from phenobench.metrics.ties import expected_average_precision

Ties = Literal["expected", "optimistic", "pessimistic"]
TIES: tuple[Ties, ...] = ("expected", "optimistic", "pessimistic")
GOLDENS = Path(__file__).parents[1] / "goldens"
REPLICATES: dict[str, list[str]] = {
    "pos_sameby": ["pert"],
    "pos_diffby": [],
    "neg_sameby": ["plate"],
    "neg_diffby": ["pert"],
}


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    """To nine decimals: equal cosines of small integer vectors become equal, others stay apart."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    # Below every cosine: a zero vector takes the worst rank.
    return round(float(one @ two) / lengths, 9) if lengths else -2.0


def same(one: Any, two: Any) -> bool:
    if isinstance(one, list) or isinstance(two, list):
        return bool(set(one or []) & set(two or []))
    return one is not None and two is not None and bool(one == two)


def tied_blocks(candidates: list[tuple[float, bool]]) -> list[tuple[int, int]]:
    """(size, positives) of the blocks of equal similarity, best first."""
    ranked = sorted(candidates, key=lambda item: -item[0])
    blocks = [[positive for _, positive in block] for _, block in groupby(ranked, key=lambda item: item[0])]
    return [(len(block), sum(block)) for block in blocks]


def precision(ranking: Sequence[bool]) -> float:
    places = [place for place, positive in enumerate(ranking, start=1) if positive]
    return sum(nth / place for nth, place in enumerate(places, start=1)) / len(places)


def orders_of(size: int, positives: int) -> list[list[bool]]:
    return [[place in chosen for place in range(size)] for chosen in combinations(range(size), positives)]


def precisions(candidates: list[tuple[float, bool]]) -> list[float]:
    """Average precision in every order of the tied candidates."""
    blocks = [orders_of(*block) for block in tied_blocks(candidates)]
    return [precision([positive for block in order for positive in block]) for order in product(*blocks)]


def reference(
    features: np.ndarray, table: Sequence[dict[str, Any]], rules: dict[str, list[str]]
) -> list[tuple[int, int, dict[Ties, float]]]:
    """Pair rules row by row, and average precision by writing out every order of ties."""
    found = []
    for i, query in enumerate(table):
        candidates = []
        for j, other in enumerate(table):
            positive = all(same(query[c], other[c]) for c in rules["pos_sameby"])
            positive &= not any(same(query[c], other[c]) for c in rules["pos_diffby"])
            negative = all(same(query[c], other[c]) for c in rules["neg_sameby"])
            negative &= not any(same(query[c], other[c]) for c in rules["neg_diffby"])
            if i != j and (positive or negative):
                candidates.append((cosine(features[i], features[j]), positive))
        n_positive = sum(positive for _, positive in candidates)
        values: dict[Ties, float] = dict.fromkeys(TIES, float("nan"))
        if 0 < n_positive < len(candidates):
            every = precisions(candidates)
            values = {"expected": float(np.mean(every)), "optimistic": max(every), "pessimistic": min(every)}
        found.append((n_positive, len(candidates), values))
    return found


def random_screen(seed: int, n: int = 240, d: int = 5) -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    metadata = pd.DataFrame(
        {"pert": rng.integers(0, 30, n).astype(str), "plate": rng.integers(0, 4, n), "well": rng.integers(0, 50, n)}
    )
    return rng.standard_normal((n, d)).astype(np.float32), metadata


def scored(
    features: np.ndarray, metadata: pd.DataFrame, rules: dict[str, list[str]], ties: Ties = "expected"
) -> pd.DataFrame:
    return average_precision(
        features,
        metadata,
        pos_sameby=rules["pos_sameby"],
        pos_diffby=rules["pos_diffby"],
        neg_sameby=rules["neg_sameby"],
        neg_diffby=rules["neg_diffby"],
        ties=ties,
    )


# Against copairs 0.5.5


def assert_agrees(ours: pd.DataFrame, theirs: np.ndarray) -> None:
    """The field's tolerance: a product of matrices flips near-ties, so a few rows may move."""
    value = ours["average_precision"].to_numpy()
    np.testing.assert_array_equal(np.isnan(value), np.isnan(theirs))
    defined = ~np.isnan(theirs)
    away = np.abs(value[defined] - theirs[defined])
    assert (away > 1e-5).mean() <= 0.005
    assert abs(value[defined].mean() - theirs[defined].mean()) < 1e-5


@pytest.mark.parametrize(
    ("name", "pos_diffby"),
    [("a1_plate_neg", []), ("a2_crossplate_pos", ["plate"]), ("a5_ties_int4", []), ("a7_missing_pairs", [])],
)
def test_optimistic_agrees_with_copairs(name: str, pos_diffby: list[str]) -> None:
    golden = np.load(GOLDENS / f"copairs_{name}.npz")
    metadata = pd.DataFrame({"pert": golden["pert"], "plate": golden["plate"]})
    ours = scored(golden["X"], metadata, {**REPLICATES, "pos_diffby": pos_diffby}, ties="optimistic")
    np.testing.assert_array_equal(ours["n_pos_pairs"], golden["n_pos_pairs"])
    np.testing.assert_array_equal(ours["n_total_pairs"], golden["n_total_pairs"])
    assert_agrees(ours, golden["average_precision"])
    # copairs cuts normalized scores off at -1.
    normalized = ours["normalized"].clip(lower=-1).to_numpy()
    away = np.abs(normalized - golden["normalized_average_precision"])
    assert (away[~np.isnan(normalized)] > 1e-4).mean() <= 0.005


def test_multilabel_agrees_with_copairs() -> None:
    golden = np.load(GOLDENS / "copairs_a8_multilabel.npz")
    metadata = pd.DataFrame({"targets": [cell.split(";") for cell in golden["labels"]]})
    ours = average_precision(
        golden["X"],
        metadata,
        pos_sameby=["targets"],
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=["targets"],
        ties="optimistic",
    )
    wanted = [(row, label) for row, cell in enumerate(metadata["targets"]) for label in cell]
    assert list(zip(ours.index, ours["label"], strict=True)) == wanted
    # copairs has no row for a label without positives, and none is without here.
    np.testing.assert_array_equal(ours["label"], golden["label"])
    np.testing.assert_array_equal(ours["n_pos_pairs"], golden["n_pos_pairs"])
    np.testing.assert_array_equal(ours["n_total_pairs"], golden["n_total_pairs"])
    assert_agrees(ours, golden["average_precision"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "rules",
    [
        {"pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["pert"]},
        {"pos_sameby": ["pert"], "pos_diffby": ["plate", "well"], "neg_sameby": ["plate"], "neg_diffby": ["pert"]},
        {"pos_sameby": ["pert", "plate"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["pert", "plate"]},
        {"pos_sameby": ["plate"], "pos_diffby": ["pert"], "neg_sameby": ["well"], "neg_diffby": ["plate"]},
    ],
)
def test_optimistic_agrees_with_the_installed_copairs(
    rules: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    from copairs.map import average_precision as theirs_of

    features, metadata = random_screen(1)
    theirs = theirs_of(metadata, features, **rules, progress_bar=False)
    ours = scored(features, metadata, rules, ties="optimistic")
    np.testing.assert_array_equal(ours["n_pos_pairs"], theirs["n_pos_pairs"])
    np.testing.assert_array_equal(ours["n_total_pairs"], theirs["n_total_pairs"])
    undefined = ((ours["n_pos_pairs"] == 0) | (ours["n_pos_pairs"] == ours["n_total_pairs"])).to_numpy()
    # A query without negatives has no average precision; copairs gives it 1.
    assert_agrees(ours, np.where(undefined, np.nan, theirs["average_precision"]))


# Against rules written out row by row

LEVEL = st.integers(-1, 1)
LABEL = st.sampled_from(["x", "y", "z", None])
COLUMNS = st.lists(st.sampled_from(["a", "b"]), unique=True, max_size=2)
RULES = st.fixed_dictionaries(dict.fromkeys(REPLICATES, COLUMNS))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.tuples(LEVEL, LEVEL), LABEL, LABEL), min_size=2, max_size=7),
    RULES,
)
def test_rules_and_ties_agree_with_brute_force(
    rows: list[tuple[tuple[int, int], str | None, str | None]], rules: dict[str, list[str]]
) -> None:
    features = np.array([vector for vector, _, _ in rows], dtype=np.float32)
    table = [{"a": a, "b": b} for _, a, b in rows]
    wanted = reference(features, table, rules)
    values = {}
    for ties in TIES:
        got = scored(features, pd.DataFrame(table), rules, ties=ties)
        assert got["n_pos_pairs"].tolist() == [n for n, _, _ in wanted]
        assert got["n_total_pairs"].tolist() == [n for _, n, _ in wanted]
        np.testing.assert_allclose(got["average_precision"], [value[ties] for _, _, value in wanted], atol=1e-12)
        values[ties] = got["average_precision"].dropna().to_numpy()
    assert (values["optimistic"] >= values["expected"] - 1e-12).all()
    assert (values["expected"] >= values["pessimistic"] - 1e-12).all()


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.tuples(LEVEL, LEVEL), st.sets(st.sampled_from("uvw"), max_size=2), st.sampled_from("xy")),
        min_size=2,
        max_size=6,
    ),
    st.sampled_from([["t"], ["a", "t"], ["t", "a"]]),
    st.sampled_from([[], ["a"]]),
    st.sampled_from([["t"], [], ["a"]]),
)
def test_multilabel_rules_agree_with_brute_force(
    rows: list[tuple[tuple[int, int], set[str], str]],
    pos_sameby: list[str],
    neg_sameby: list[str],
    neg_diffby: list[str],
) -> None:
    features = np.array([vector for vector, _, _ in rows], dtype=np.float32)
    rules = {"pos_sameby": pos_sameby, "pos_diffby": [], "neg_sameby": neg_sameby, "neg_diffby": neg_diffby}
    metadata = pd.DataFrame({"t": [sorted(cell) for _, cell, _ in rows], "a": [a for _, _, a in rows]})
    got = scored(features, metadata, rules)
    position = 0
    for i, (_, cell, _) in enumerate(rows):
        for label in sorted(cell):
            # As a query for one label, a row has that label and no other where positives are concerned.
            table = [{"t": t, "a": a} for t, a in zip(metadata["t"], metadata["a"], strict=True)]
            queried = [{**row, "t*": [label] if label in row["t"] else []} for row in table]
            by_label = {**rules, "pos_sameby": ["t*" if c == "t" else c for c in pos_sameby]}
            n_positive, n_total, value = reference(features, queried, by_label)[i]
            row = got.iloc[position]
            assert (got.index[position], row["label"]) == (i, label)
            assert (row["n_pos_pairs"], row["n_total_pairs"]) == (n_positive, n_total)
            np.testing.assert_allclose(row["average_precision"], value["expected"], atol=1e-12)
            position += 1
    assert position == len(got)


def test_pos_diffby_means_different_in_every_column() -> None:
    metadata = pd.DataFrame(
        {
            "pert": ["A", "A", "A", "A", "B"],
            "plate": [1, 1, 2, 2, 1],
            "well": ["A01", "A02", "A01", "A02", "A03"],
        }
    )
    got = scored(np.eye(5), metadata, {**REPLICATES, "neg_sameby": [], "pos_diffby": ["plate", "well"]})
    assert got["n_pos_pairs"].tolist() == [1, 1, 1, 1, 0]


def test_a_missing_label_equals_nothing() -> None:
    metadata = pd.DataFrame({"pert": ["A", "A", None, None, "B", "B"], "plate": [1, 1, 1, 1, None, None]})
    got = scored(np.eye(6), metadata, REPLICATES)
    assert got["n_pos_pairs"].tolist() == [1, 1, 0, 0, 1, 1]
    # Wells without a plate share no plate; wells without a perturbation are unlike every other.
    assert got["n_total_pairs"].tolist() == [3, 3, 3, 3, 1, 1]
    assert got["average_precision"].isna().tolist() == [False, False, True, True, True, True]


def test_a_positive_is_never_a_negative() -> None:
    features, metadata = random_screen(4, n=60)
    rules = {"pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["plate"]}
    got = scored(features, metadata, rules)
    perturbation, plate = metadata["pert"].to_numpy(), metadata["plate"].to_numpy()
    either = (perturbation[:, None] == perturbation) | (plate[:, None] != plate)
    np.testing.assert_array_equal(got["n_total_pairs"], either.sum(axis=1) - 1)
    everything = average_precision(features, metadata, pos_sameby=[], pos_diffby=[], neg_sameby=[], neg_diffby=[])
    assert everything["average_precision"].isna().all()


def test_a_query_without_positives_or_negatives_has_no_precision() -> None:
    metadata = pd.DataFrame({"pert": ["A", "A", "B", "C", "C", "C"], "plate": [1, 1, 1, 2, 2, 2]})
    got = scored(np.random.default_rng(0).standard_normal((6, 3)), metadata, REPLICATES)
    assert got[["average_precision", "expected", "normalized"]].notna().all(axis=1).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert got["n_pos_pairs"].tolist() == [1, 1, 0, 2, 2, 2]
    assert got["n_total_pairs"].tolist() == [2, 2, 2, 2, 2, 2]


# Properties


@pytest.mark.parametrize("ties", TIES)
def test_the_order_of_rows_does_not_matter(ties: Ties) -> None:
    features, metadata = random_screen(5)
    features = features.round()
    order = np.random.default_rng(6).permutation(len(features))
    metadata.index = pd.Index([f"row {i}" for i in range(len(metadata))])
    got = scored(features, metadata, REPLICATES, ties=ties)
    shuffled = scored(features[order], metadata.iloc[order], REPLICATES, ties=ties)
    assert list(shuffled.index) == list(metadata.index[order])
    pd.testing.assert_frame_equal(shuffled.loc[got.index], got, rtol=1e-12)


@pytest.mark.parametrize("ties", TIES)
def test_monotone_changes_of_similarity_do_not_matter(ties: Ties) -> None:
    features, metadata = random_screen(7, d=3)
    features = features.round().astype(np.float64)
    features[~features.any(axis=1)] = 1
    wanted = scored(features, metadata, REPLICATES, ties=ties)
    rng = np.random.default_rng(8)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    changed = {
        "scaled": features * rng.lognormal(0, 3, (len(features), 1)),
        "rotated": features @ rotation,
        # A common coordinate makes every cosine s into (s + 4) / 5.
        "lifted": np.hstack([units, np.full((len(units), 1), 2.0)]),
    }
    for how, other in changed.items():
        got = scored(other, metadata, REPLICATES, ties=ties)
        pd.testing.assert_frame_equal(got, wanted, rtol=1e-12, obj=how)


@pytest.mark.parametrize("ties", TIES)
def test_blocks_do_not_matter(ties: Ties, monkeypatch: pytest.MonkeyPatch) -> None:
    features, metadata = random_screen(9)
    features = features.round(1)
    metadata["targets"] = [["t" + cell, "all"] for cell in metadata["pert"]]
    several = {"pos_sameby": ["targets"], "pos_diffby": ["plate"], "neg_sameby": ["plate"], "neg_diffby": ["pert"]}
    for rules in (REPLICATES, {**REPLICATES, "neg_sameby": []}, several):
        whole = scored(features, metadata, rules, ties=ties)
        for side, pairs in ((6, 1200), (31, 30_000)):
            with monkeypatch.context() as patch:
                patch.setattr(counting, "_TILE", side)
                patch.setattr(counting, "_CELLS_A_POSITIVE", side % 2)
                patch.setattr(cosines, "_PAIRS_AT_ONCE", side)
                patch.setattr(ranking, "_MOST_PAIRS", pairs)
                cut = scored(features, metadata, rules, ties=ties)
            pd.testing.assert_frame_equal(cut, whole, check_exact=True)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 1e-30, 1e30])
@pytest.mark.parametrize("d", [1, 2, 37])
def test_a_constant_embedding_is_exactly_at_chance(value: float, d: int) -> None:
    _, metadata = random_screen(10)
    got = scored(np.full((len(metadata), d), value, dtype=np.float32), metadata, REPLICATES)
    defined = got["n_pos_pairs"].between(1, got["n_total_pairs"] - 1)
    assert defined.sum() > 100
    assert (got["average_precision"] == got["expected"])[defined].all()
    assert (got["normalized"] == 0)[defined].all()
    assert got["average_precision"].notna().equals(defined)


def test_equal_directions_tie_whatever_their_length() -> None:
    rng = np.random.default_rng(11)
    _, metadata = random_screen(11)
    direction = rng.standard_normal((1, 50))
    lengths = rng.lognormal(0, 4, (len(metadata), 1))
    got = scored(direction * lengths, metadata, REPLICATES).dropna()
    assert (got["average_precision"] == got["expected"]).all()


def test_collapsed_classes_score_between_the_bounds() -> None:
    # Four directions in 200 rows, in an irrational basis: a matrix product breaks such ties, and copairs with it.
    rng = np.random.default_rng(12)
    _, metadata = random_screen(12, n=200)
    which = rng.integers(0, 4, 200)
    basis = rng.standard_normal((4, 64))
    got = scored(basis[which], metadata, REPLICATES).dropna()
    orthogonal = basis @ basis.T / np.outer(*[np.linalg.norm(basis, axis=1)] * 2)
    perturbation, plate = metadata["pert"].to_numpy(), metadata["plate"].to_numpy()
    for i, row in got.iterrows():
        assert isinstance(i, int)
        rest = np.arange(200) != i
        positive = rest & (perturbation == perturbation[i])
        negative = rest & (plate == plate[i]) & ~positive
        above, rank, total = 0, 0, 0.0
        for level in np.argsort(-orthogonal[which[i]]):
            block = which == level
            p, q = int((block & positive).sum()), int((block & negative).sum())
            for place in range(1, p + q + 1):
                before = (place - 1) * (p - 1) / (p + q - 1) if p + q > 1 else 0.0
                total += p / (p + q) * (above + 1 + before) / (rank + place)
            above, rank = above + p, rank + p + q
        assert row["average_precision"] == pytest.approx(total / positive.sum(), abs=1e-12)


def test_zero_vectors_take_the_worst_rank() -> None:
    metadata = pd.DataFrame({"pert": ["A", "A", "B", "B", "C"], "plate": [1] * 5})
    # The zero positive of row 0 comes last, behind negatives with a cosine of -1.
    features = np.array([[1, 0], [0, 0], [-1, 0], [-1, 0], [-1, 0]], dtype=np.float32)
    for ties in TIES:
        got = scored(features, metadata, REPLICATES, ties=ties)
        assert got["average_precision"][0] == pytest.approx(1 / 4)
    # A query without direction finds its candidates in random order.
    expected = scored(features, metadata, REPLICATES)
    assert expected["average_precision"][1] == expected["expected"][1]
    # A positive with a cosine of -1 stands before a zero negative, and a zero positive is tied with it.
    features = np.array([[1, 0], [-1, 0], [0, 0], [1, 1], [0, 0]], dtype=np.float32)
    assert scored(features, metadata, REPLICATES)["average_precision"][0] == pytest.approx(1 / 2)
    features = np.array([[1, 0], [0, 0], [0, 0], [-1, 0], [-1, 0]], dtype=np.float32)
    got = scored(features, metadata, REPLICATES)
    assert got["average_precision"][0] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert got["average_precision"][:4].notna().all()


def test_one_dimension_ranks_by_sign() -> None:
    metadata = pd.DataFrame({"pert": ["A", "A", "B", "B"], "plate": [1] * 4})
    got = scored(np.array([[1.0], [5.0], [-2.0], [-0.1]]), metadata, REPLICATES)
    assert got["average_precision"].tolist() == [1.0, 1.0, 1.0, 1.0]


def test_chance_and_normalization_go_with_each_row() -> None:
    features, metadata = random_screen(13)
    got = scored(features, metadata, REPLICATES).dropna()
    chance = expected_average_precision(got["n_pos_pairs"].to_numpy(), got["n_total_pairs"].to_numpy())
    np.testing.assert_array_equal(got["expected"], chance)
    np.testing.assert_allclose(got["normalized"], (got["average_precision"] - chance) / (1 - chance), rtol=1e-14)


def test_noise_is_at_chance() -> None:
    away = []
    for seed in range(40):
        features, metadata = random_screen(100 + seed)
        got = scored(features, metadata, REPLICATES)
        away.append(float((got["average_precision"] - got["expected"]).mean()))
    assert abs(np.mean(away)) < 3.5 * np.std(away, ddof=1) / np.sqrt(len(away))


# Bad input


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pos_sameby": ["prt"]}, "unknown column 'prt'; did you mean pert or plate?"),
        ({"ties": "optimist"}, "unknown tie rule 'optimist'; did you mean optimistic"),
        ({"features": np.eye(3)}, "3 rows of features for 4 rows of metadata"),
        ({"features": np.zeros(4)}, "features have 1 dimensions"),
        ({"features": np.array([[1.0], [np.nan], [0], [0]])}, "feature 0 of row 1 is NaN or infinite"),
        ({"pos_sameby": ["mixed"]}, "column 'mixed' mixes lists of labels with single values"),
        ({"pos_sameby": ["one"], "neg_diffby": ["two"]}, "columns one, two all hold lists of labels"),
    ],
)
def test_bad_input_is_named(changed: dict[str, Any], said: str) -> None:
    metadata = pd.DataFrame({"pert": list("AABB"), "plate": [1] * 4})
    metadata["mixed"] = pd.Series([["x"], "x", ["y"], None], dtype=object)
    metadata["one"] = pd.Series([["x"], ["x"], ["y"], None], dtype=object)
    metadata["two"] = pd.Series([["x"], ["x"], ["y"], []], dtype=object)
    arguments = {"features": np.eye(4), "metadata": metadata, **REPLICATES, **changed}
    with pytest.raises(InputError) as caught:
        average_precision(**arguments)
    assert said in str(caught.value)
