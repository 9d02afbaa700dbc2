"""Cross-modal retrieval: recall@k in both directions among unique candidates, with exact chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.metrics.candidates import count_candidates
from phenobench.metrics.similarity import levels
from phenobench.metrics.ties import first_rank, first_reciprocal, hit_probability
from phenobench.metrics.units import unit_rows

_BLOCK_CELLS = 2**23


@dataclass(frozen=True)
class Direction:
    """One direction of retrieval.

    Attributes:
        recall: k -> share of queries with a correct candidate among the first k.
        chance: k -> expected recall when all candidates are tied, exactly.
        hits: probability of a hit by query and k, float64 (n_queries, len(ks)).
        expected: the same when all candidates are tied.
        rank: rank of the first correct candidate, from 1, float64 (n_queries,); ties by expectation.
        expected_rank: the same when all candidates are tied.
        reciprocal: reciprocal of that rank; ties by expectation.
        expected_reciprocal: the same when all candidates are tied.
        queries: the rows of the query side that have a correct candidate, int (n_queries,).
        n_candidates: candidates ranked for each query.
    """

    recall: Mapping[int, float]
    chance: Mapping[int, float]
    hits: np.ndarray
    expected: np.ndarray
    rank: np.ndarray
    expected_rank: np.ndarray
    reciprocal: np.ndarray
    expected_reciprocal: np.ndarray
    queries: np.ndarray
    n_candidates: int


@dataclass(frozen=True)
class CrossModalRecall:
    """Recall@k from images to texts and back."""

    image_to_text: Direction
    text_to_image: Direction


def cross_modal_recall(
    images: np.ndarray,
    texts: np.ndarray,
    image_labels: Sequence[str],
    text_labels: Sequence[str],
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> CrossModalRecall:
    """Recall@k by cosine, images to texts and texts to images, in a common space.

    Texts are unique candidates: rows of one label must be equal and count once. An image has one
    correct text; a text has all images of its label as correct, and any among the first k is a hit.
    Tied candidates count by their exact expectation. A query without a correct candidate is left out.

    Args:
        images: (n, d) finite.
        texts: (m, d) finite.
        image_labels: n labels.
        text_labels: m labels.
        ks: cut-offs, each at least 1.

    Raises:
        InputError: other dimensions, a text without a label, two texts for one label, no label in common,
            or a bad cut-off.
    """
    image_units, text_units = unit_rows(images), unit_rows(texts)
    if image_units.shape[1] != text_units.shape[1]:
        raise InputError(
            f"images have {image_units.shape[1]} dimensions and texts {text_units.shape[1]}; they need a common space "
            "(fit one with --align)"
        )
    for side, units, labels in (("image", image_units, image_labels), ("text", text_units, text_labels)):
        if len(units) != len(labels):
            raise InputError(f"{len(labels)} {side} labels for {len(units)} rows; give one each")
    if not len(ks) or min(ks) < 1:
        raise InputError(f"cut-offs {tuple(ks)} must be at least 1")
    text_codes, unique = pd.factorize(np.asarray(text_labels, dtype=object))
    if (text_codes < 0).any():
        raise InputError(f"text {int(text_codes.argmin()) + 1} has no label; give it one or leave it out")
    first = np.unique(text_codes, return_index=True)[1]
    raw = np.asarray(texts)
    again = np.flatnonzero(first[text_codes] != np.arange(len(raw)))
    for row in again[(raw[again] != raw[first[text_codes[again]]]).any(axis=1)].tolist():
        raise InputError(
            f"'{text_labels[row]}' has two different texts (rows {first[text_codes[row]] + 1} and {row + 1}); give one"
        )
    correct = pd.Index(unique).get_indexer(pd.Index(np.asarray(image_labels, dtype=object)))
    if (correct < 0).all():
        raise InputError(
            "images and texts have no label in common; check which column is the perturbation on each side"
        )
    found = count_candidates(image_units, text_units[first], correct)
    queries, known = np.flatnonzero(correct >= 0), np.flatnonzero(found.n_correct)
    one = np.ones(len(queries), dtype=np.int64)
    better, tied = found.texts_above[queries], found.texts_at[queries]
    to_text = _direction(ks, better, one, tied, one, len(first), queries)
    counts = (found.images_above[known], found.correct_at[known], found.images_at[known], found.n_correct[known])
    return CrossModalRecall(to_text, _direction(ks, *counts, len(image_units), first[known]))


def diagonal_recall(images: np.ndarray, texts: np.ndarray, *, ks: Sequence[int] = (1, 5, 10)) -> CrossModalRecall:
    """Retrieval as CLIP-style scripts score it: raw dot products, and row i's only correct candidate is row i.

    For comparison with published numbers alone. A text that stands in several rows counts as wrong in
    all but one of them, and lengths of embeddings, which training by cosine leaves free, move ranks.
    Ties count by their expectation, where such scripts leave them to the sort.

    Args:
        images: (n, d) finite.
        texts: (n, d) finite; row i belongs to image i.
        ks: cut-offs, each at least 1.
    """
    if images.shape != texts.shape:
        raise InputError(
            f"images of shape {images.shape} and texts of {texts.shape} are no pairs; give as many of each"
        )
    return CrossModalRecall(_diagonal(images, texts, ks), _diagonal(texts, images, ks))


def _diagonal(queries: np.ndarray, candidates: np.ndarray, ks: Sequence[int]) -> Direction:
    n = len(queries)
    better, tied = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    step = max(1, _BLOCK_CELLS // n)
    for start in range(0, n, step):
        block = np.asarray(queries[start : start + step] @ candidates.T, dtype=np.float64)
        # Lengths are free here, so the resolution is relative to the largest product of the query.
        block = levels(block / np.maximum(np.abs(block).max(axis=1, keepdims=True), np.finfo(np.float64).tiny))
        own = block[np.arange(len(block)), start + np.arange(len(block))][:, None]
        better[start : start + step] = (block > own).sum(axis=1)
        tied[start : start + step] = (block == own).sum(axis=1) - 1
    one = np.ones(n, dtype=np.int64)
    return _direction(ks, better, one, tied, one, n, np.arange(n))


def _direction(
    ks: Sequence[int],
    better: np.ndarray,
    right: np.ndarray,
    wrong: np.ndarray,
    n_correct: np.ndarray,
    n_candidates: int,
    queries: np.ndarray,
) -> Direction:
    hits = np.stack([hit_probability(k, better, right, wrong) for k in ks], axis=1)
    chance = (np.zeros_like(better), n_correct, n_candidates - n_correct)
    expected = np.stack([hit_probability(k, *chance) for k in ks], axis=1)
    return Direction(
        recall={k: float(hits[:, i].mean()) for i, k in enumerate(ks)},
        chance={k: float(expected[:, i].mean()) for i, k in enumerate(ks)},
        hits=hits,
        expected=expected,
        rank=first_rank(better, right, wrong),
        expected_rank=first_rank(*chance),
        reciprocal=first_reciprocal(better, right, wrong),
        expected_reciprocal=first_reciprocal(*chance),
        queries=queries,
        n_candidates=n_candidates,
    )
