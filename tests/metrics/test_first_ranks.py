"""Ranks of the first correct candidate, and retrieval as CLIP-style scripts score it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenobench.errors import InputError
from phenobench.metrics.retrieval import cross_modal_recall, diagonal_recall
from phenobench.metrics.ties import first_rank, first_reciprocal


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 4), st.integers(1, 3), st.integers(0, 4))
def test_expected_ranks_are_those_of_all_orders(better: int, correct: int, wrong: int) -> None:
    block = [True] * correct + [False] * wrong
    ranks = [better + 1 + order.index(True) for order in set(permutations(block))]
    arguments = (np.array([better]), np.array([correct]), np.array([wrong]))
    np.testing.assert_allclose(first_rank(*arguments), np.mean(ranks))
    np.testing.assert_allclose(first_reciprocal(*arguments), np.mean(1 / np.array(ranks)))


def test_ranks_by_hand() -> None:
    images = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    texts = np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    found = cross_modal_recall(images, texts, ["a", "b", "c"], ["a", "b", "c"]).image_to_text
    # Cosines of a: 0, 1, 0.6; of b: 0.8, 0.6, 1; of c: 1, 0, 0.8.
    assert found.rank.tolist() == [3, 3, 2]
    assert found.reciprocal.tolist() == [1 / 3, 1 / 3, 1 / 2]
    assert found.expected_rank.tolist() == [2, 2, 2]
    np.testing.assert_allclose(found.expected_reciprocal, (1 + 1 / 2 + 1 / 3) / 3)


# Computed by the reference script on these arrays: ranks from 1, the median rounded down and plus one.
RAW = {
    "image_to_text": (2.7, 1.0, {1: 0.55, 5: 0.875, 10: 0.95}),
    "text_to_image": (2.7, 1.0, {1: 0.5, 5: 0.875, 10: 0.95}),
}
NORMALISED = {
    "image_to_text": (2.1, 1.0, {1: 0.675, 5: 0.925, 10: 0.975}),
    "text_to_image": (2.2, 1.0, {1: 0.6, 5: 0.9, 10: 0.975}),
}


@pytest.mark.parametrize(("normalised", "expected"), [(False, RAW), (True, NORMALISED)])
def test_the_published_script_gives_the_same_numbers(
    normalised: bool, expected: dict[str, tuple[float, float, dict[int, float]]]
) -> None:
    rng = np.random.default_rng(31)
    images = rng.standard_normal((40, 16)).astype(np.float32)
    texts = (images + 1.5 * rng.standard_normal((40, 16))).astype(np.float32)
    if normalised:
        images /= np.linalg.norm(images, axis=1, keepdims=True)
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    found = diagonal_recall(images, texts)
    for name, (mean_rank, median_rank, recall) in expected.items():
        direction = getattr(found, name)
        assert direction.rank.mean() == pytest.approx(mean_rank)
        assert np.floor(np.median(direction.rank - 1)) + 1 == median_rank
        assert direction.recall == pytest.approx(recall)
        assert direction.chance == pytest.approx({1: 1 / 40, 5: 5 / 40, 10: 10 / 40})


def test_a_repeated_text_is_wrong_in_all_rows_but_one() -> None:
    # A perfect embedding of 3 texts, 4 wells each: the script finds a well's own row one time in four.
    rows = np.repeat(np.eye(3), 4, axis=0)
    found = diagonal_recall(rows, rows, ks=(1, 2, 4))
    assert found.image_to_text.recall == pytest.approx({1: 0.25, 2: 0.5, 4: 1.0})
    labels = [str(row) for row in np.repeat(np.arange(3), 4)]
    assert cross_modal_recall(rows, rows, labels, labels, ks=(1,)).image_to_text.recall == {1: 1.0}


def test_all_tied_is_chance_and_no_pairs_are_refused() -> None:
    found = diagonal_recall(np.ones((8, 3)), np.ones((8, 3)), ks=(2,)).text_to_image
    assert found.recall == found.chance == {2: 0.25}
    with pytest.raises(InputError, match="no pairs"):
        diagonal_recall(np.ones((8, 3)), np.ones((7, 3)))
