"""Rules of which one column is enough, against copairs' pairs and against every pair by hand; and |cosine|."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from copairs.matching import Matcher

from phenobench.errors import InputError
from phenobench.metrics import average_precision
from phenobench.metrics.pairing import label_lists


def screen(n: int = 60) -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(0)
    metadata = pd.DataFrame({name: rng.integers(0, k, n) for name, k in (("a", 6), ("b", 6), ("p", 3), ("q", 3))})
    metadata["targets"] = label_lists(pd.Series(["|".join(rng.choice(list("UVWXYZ"), 2)) for _ in range(n)]))
    return rng.standard_normal((n, 5)), metadata


def same(one: Any, two: Any) -> bool:
    return bool(set(one) & set(two)) if isinstance(one, list) else bool(one == two)


def holds(rule: Any, one: pd.Series, two: pd.Series, wanted: bool) -> bool:
    rule = rule if isinstance(rule, dict) else {"all": rule}
    alike = {name: same(one[name], two[name]) == wanted for names in rule.values() for name in names}
    some = rule.get("any", [])
    return all(alike[name] for name in rule.get("all", [])) and (not some or any(alike[name] for name in some))


@pytest.mark.parametrize(
    "rules",
    [
        ({"any": ["a", "b"]}, [], [], ["a", "b"]),
        ({"all": ["p"], "any": ["a", "b"]}, [], ["p"], {"any": ["a", "b"]}),
        (["a"], {"any": ["p", "q"]}, {"any": ["p", "q"]}, ["a"]),
        (
            ["a"],
            {"all": ["b"], "any": ["p", "q"]},
            {"all": ["p"], "any": ["b", "q"]},
            {"all": ["a"], "any": ["b", "p"]},
        ),
        ({"any": ["a", "targets"]}, [], [], ["a", "targets"]),
        (["a"], {"any": ["p", "targets"]}, [], {"any": ["a", "targets"]}),
    ],
)
def test_any_column_of_several_is_enough(rules: tuple[Any, Any, Any, Any]) -> None:
    features, metadata = screen()
    names = ("pos_sameby", "pos_diffby", "neg_sameby", "neg_diffby")
    table = average_precision(features, metadata, **dict(zip(names, rules, strict=True)))
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    for i, (_, one) in enumerate(metadata.iterrows()):
        positive, negative = [], []
        for j, (_, two) in enumerate(metadata.iterrows()):
            if i == j:
                continue
            if holds(rules[0], one, two, True) and holds(rules[1], one, two, False):
                positive.append(units[i] @ units[j])
            elif holds(rules[2], one, two, True) and holds(rules[3], one, two, False):
                negative.append(units[i] @ units[j])
        assert (table["n_pos_pairs"][i], table["n_total_pairs"][i]) == (len(positive), len(positive) + len(negative))
        if positive and negative:
            ranked = sorted([(-cosine, True) for cosine in positive] + [(-cosine, False) for cosine in negative])
            places = [place for place, (_, hit) in enumerate(ranked, 1) if hit]
            precision = np.mean([nth / place for nth, place in enumerate(places, 1)])
            assert table["average_precision"][i] == pytest.approx(precision)


def test_pairs_of_any_rule_are_those_of_copairs() -> None:
    features, metadata = screen()
    metadata = metadata.drop(columns="targets")
    sameby: dict[Any, list[str]] = {"all": ["p"], "any": ["a", "b"]}
    pairs = Matcher(metadata, list(metadata.columns), seed=0).get_all_pairs(sameby=dict(sameby), diffby=["q"])
    found = np.bincount(np.array([pair for group in pairs.values() for pair in group]).ravel(), minlength=len(metadata))
    ours = average_precision(features, metadata, pos_sameby=sameby, pos_diffby=["q"], neg_sameby=[], neg_diffby=["p"])
    assert ours["n_pos_pairs"].tolist() == found.tolist()


@pytest.mark.parametrize("rule", [{"any": ["a"]}, {"some": ["a", "b"]}])
def test_a_rule_that_says_nothing_is_refused(rule: Any) -> None:
    features, metadata = screen()
    with pytest.raises(InputError, match="is not understood"):
        average_precision(features, metadata, pos_sameby=rule, pos_diffby=[], neg_sameby=[], neg_diffby=["a"])


def test_absolute_cosine_is_the_cosine_of_profiles_turned_to_one_side() -> None:
    features, metadata = screen()
    turned = np.abs(features[:, :1]) + np.zeros((1, 3))
    flipped = turned * np.where(features[:, 1:2] > 0, 1, -1)
    unknown: Any = "absolute"
    rules: Any = {"pos_sameby": ["a"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["a"]}
    plain = average_precision(turned, metadata, **rules)
    pd.testing.assert_frame_equal(plain, average_precision(flipped, metadata, **rules, similarity="abs_cosine"))
    with pytest.raises(InputError, match="unknown similarity 'absolute'"):
        average_precision(features, metadata, **rules, similarity=unknown)


def test_labels_are_split_trimmed_and_distinct() -> None:
    got = label_lists(pd.Series(["B|A", " A | A|", None, "|", "C"]))
    assert got.tolist() == [["A", "B"], ["A"], [], [], ["C"]]
