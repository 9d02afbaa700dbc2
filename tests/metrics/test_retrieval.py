from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenobench.errors import InputError
from phenobench.metrics import candidates, cross_modal_recall
from phenobench.metrics.similarity import UNDEFINED, levels
from phenobench.metrics.units import unit_rows


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    return round(float(one @ two) / lengths, 9) if lengths else -2.0


def brute_hit(similarities: list[float], correct: list[bool], k: int) -> float:
    """Probability of a correct candidate among the first k over all orders of ties, by writing them out."""
    best = max(s for s, right in zip(similarities, correct, strict=True) if right)
    better = sum(s > best for s in similarities)
    size = sum(s == best for s in similarities)
    right = sum(s == best and is_correct for s, is_correct in zip(similarities, correct, strict=True))
    orders = list(combinations(range(better + 1, better + size + 1), right))
    return sum(places[0] <= k for places in orders) / len(orders)


VECTOR = st.tuples(st.integers(-1, 1), st.integers(-1, 1))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(VECTOR, st.sampled_from("abcdefz")), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from("abcdef"), VECTOR, min_size=1, max_size=6),
)
def test_recall_agrees_with_brute_force(
    images: list[tuple[tuple[int, int], str]], texts: dict[str, tuple[int, int]]
) -> None:
    labels = [label for _, label in images]
    queries = [i for i, label in enumerate(labels) if label in texts]
    image_rows = np.array([vector for vector, _ in images], dtype=float)
    text_rows = np.array(list(texts.values()), dtype=float)
    ks = (1, 2, 5)
    if not queries:
        with pytest.raises(InputError, match="no label in common"):
            cross_modal_recall(image_rows, text_rows, labels, list(texts), ks=ks)
        return
    got = cross_modal_recall(image_rows, text_rows, labels, list(texts), ks=ks)
    to_text = got.image_to_text
    assert to_text.queries.tolist() == queries
    assert to_text.n_candidates == len(texts)
    for column, k in enumerate(ks):
        wanted = [
            brute_hit([cosine(image_rows[i], text) for text in text_rows], [labels[i] == name for name in texts], k)
            for i in queries
        ]
        np.testing.assert_allclose(to_text.hits[:, column], wanted, atol=1e-12)
        assert to_text.recall[k] == pytest.approx(np.mean(wanted), abs=1e-12)
        assert to_text.chance[k] == pytest.approx(min(k, len(texts)) / len(texts), abs=1e-12)
    to_image = got.text_to_image
    found = [j for j, name in enumerate(texts) if name in labels]
    assert to_image.queries.tolist() == found
    assert to_image.n_candidates == len(images)
    for column, k in enumerate(ks):
        correct = [[label == list(texts)[j] for label in labels] for j in found]
        wanted = [
            brute_hit([cosine(image, text_rows[j]) for image in image_rows], right, k)
            for j, right in zip(found, correct, strict=True)
        ]
        chance = [brute_hit([0.0] * len(labels), right, k) for right in correct]
        np.testing.assert_allclose(to_image.hits[:, column], wanted, atol=1e-12)
        np.testing.assert_allclose(to_image.expected[:, column], chance, atol=1e-12)
        assert to_image.recall[k] == pytest.approx(np.mean(wanted), abs=1e-12)
        assert to_image.chance[k] == pytest.approx(np.mean(chance), abs=1e-12)


def wells(
    seed: int, n: int = 200, n_texts: int = 30, d: int = 6
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(seed)
    names = [f"c{i:02d}" for i in range(n_texts)]
    labels = [names[i] for i in rng.integers(0, n_texts, n)]
    return rng.standard_normal((n, d)), rng.standard_normal((n_texts, d)), labels, names


def assert_same(one: Any, two: Any) -> None:
    for direction in ("image_to_text", "text_to_image"):
        first, second = getattr(one, direction), getattr(two, direction)
        assert first.recall == pytest.approx(second.recall, abs=1e-12)
        assert first.chance == pytest.approx(second.chance, abs=1e-12)
        assert first.n_candidates == second.n_candidates


def test_repeated_texts_count_once() -> None:
    images, texts, labels, names = wells(1)
    wanted = cross_modal_recall(images, texts, labels, names)
    rng = np.random.default_rng(2)
    repeated = rng.permutation(np.repeat(np.arange(len(names)), rng.integers(1, 6, len(names))))
    got = cross_modal_recall(images, texts[repeated], labels, [names[i] for i in repeated])
    assert got.image_to_text.n_candidates == len(names)
    assert_same(got, wanted)
    # Queries of the text side are rows of the table that came in: the first of each text.
    for row in got.text_to_image.queries:
        assert repeated[row] not in repeated[:row]


def test_equal_texts_of_several_labels_stay_apart() -> None:
    # Two compounds with the same text cannot be told apart: each is found first half of the time.
    images, texts = np.array([[1.0, 0], [1, 0]]), np.array([[1.0, 0], [1, 0], [0, 1]])
    got = cross_modal_recall(images, texts, ["a", "b"], ["a", "b", "c"], ks=(1, 2))
    assert got.image_to_text.recall == {1: 0.5, 2: 1.0}
    assert got.text_to_image.recall == {1: 0.5, 2: 1.0}


def test_images_without_a_text_are_candidates_and_no_queries() -> None:
    images = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    got = cross_modal_recall(images, np.array([[1.0, 0.1]]), ["a", "z", "z"], ["a"], ks=(1, 2))
    assert got.image_to_text.queries.tolist() == [0]
    assert got.text_to_image.n_candidates == 3
    assert got.text_to_image.recall == {1: 0.0, 2: 1.0}
    assert got.text_to_image.chance == pytest.approx({1: 1 / 3, 2: 2 / 3})


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_embedding_is_exactly_at_chance(value: float) -> None:
    _, texts, labels, names = wells(3)
    for flat in (np.full((200, 6), value), np.repeat(np.random.default_rng(4).standard_normal((1, 6)), 200, axis=0)):
        got = cross_modal_recall(flat, np.repeat(flat[:1], len(texts), axis=0), labels, names)
        for direction in (got.image_to_text, got.text_to_image):
            assert direction.recall == direction.chance
            np.testing.assert_array_equal(direction.hits, direction.expected)
        assert got.image_to_text.chance == pytest.approx({1: 1 / 30, 5: 5 / 30, 10: 10 / 30})


def test_noise_is_at_chance() -> None:
    away = np.empty((40, 2))
    for seed in range(40):
        got = cross_modal_recall(*wells(seed), ks=(5,))
        both = (got.image_to_text, got.text_to_image)
        away[seed] = [direction.recall[5] - direction.chance[5] for direction in both]
    assert (np.abs(away.mean(axis=0)) < 3.5 * away.std(axis=0, ddof=1) / np.sqrt(40)).all()


def test_a_shared_space_is_found() -> None:
    _, texts, labels, names = wells(5)
    images = np.array([texts[names.index(label)] for label in labels])
    got = cross_modal_recall(images * np.linspace(1, 9, 200)[:, None], texts, labels, names)
    assert got.image_to_text.recall[1] == got.text_to_image.recall[1] == 1


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 30), (64, 9), (200, 13)])
def test_tiles_do_not_matter(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, labels, names = wells(6)
    whole = cross_modal_recall(images.round(), texts.round(), labels, names)
    monkeypatch.setattr(candidates, "_IMAGES", rows)
    monkeypatch.setattr(candidates, "_TEXTS", columns)
    cut = cross_modal_recall(images.round(), texts.round(), labels, names)
    np.testing.assert_array_equal(cut.image_to_text.hits, whole.image_to_text.hits)
    np.testing.assert_array_equal(cut.text_to_image.hits, whole.text_to_image.hits)


@pytest.mark.parametrize("most_open", [0.0, 1 / 64, 1.0])
@pytest.mark.parametrize("kind", ["few ties", "many ties", "near ties", "zero rows"])
def test_counts_are_those_of_float64_levels(kind: str, most_open: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_MOST_OPEN", most_open)
    rng = np.random.default_rng(7)
    images, texts = rng.standard_normal((300, 64)).astype(np.float32), rng.standard_normal((90, 64)).astype(np.float32)
    if kind == "few ties":
        texts[:4] = texts[5]
    elif kind == "many ties":
        images, texts = np.sign(images[:, :6]), np.sign(texts[:, :6])
    elif kind == "near ties":
        # Cosines differ by some levels, and by less than a float32 product is sure of.
        texts = texts[0] + np.float32(2e-5) * texts
    else:
        images[::5], texts[::9] = 0, 0
    correct = rng.integers(-1, 80, 300)
    image_units, text_units = unit_rows(images), unit_rows(texts)
    level = levels(image_units @ text_units.T)
    level[~images.any(axis=1)] = level[:, ~texts.any(axis=1)] = UNDEFINED
    got = candidates.count_candidates(image_units, text_units, correct)
    for image in np.flatnonzero(correct >= 0):
        own = level[image, correct[image]]
        assert got.texts_above[image] == (level[image] > own).sum()
        assert got.texts_at[image] == (level[image] == own).sum() - 1
    for text in np.unique(correct[correct >= 0]):
        own = correct == text
        best = level[own, text].max()
        assert got.images_above[text] == (level[:, text] > best).sum()
        assert got.correct_at[text] == (level[own, text] == best).sum()
        assert got.images_at[text] == (level[~own, text] == best).sum()
        assert got.n_correct[text] == own.sum()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"texts": np.eye(2)}, "images have 3 dimensions and texts 2"),
        ({"image_labels": ["a"]}, "1 image labels for 3 rows"),
        ({"text_labels": ["a", "b"]}, "2 text labels for 3 rows"),
        ({"text_labels": ["a", "b", "a"]}, "'a' has two different texts (rows 1 and 3)"),
        ({"text_labels": ["x", "y", "z"]}, "no label in common"),
        ({"text_labels": ["a", None, "c"]}, "text 2 has no label"),
        ({"ks": (0, 1)}, "cut-offs (0, 1) must be at least 1"),
        ({"ks": ()}, "cut-offs () must be at least 1"),
        ({"images": np.array([[np.nan] * 3] * 3)}, "is NaN or infinite"),
    ],
)
def test_bad_input_is_named(changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {
        "images": np.eye(3),
        "texts": np.eye(3),
        "image_labels": ["a", "b", "c"],
        "text_labels": ["a", "b", "c"],
        **changed,
    }
    with pytest.raises(InputError) as caught:
        cross_modal_recall(**arguments)
    assert said in str(caught.value)
