"""How many candidates are above and at the level of the best correct one, in both directions of one product.

The product is in float32. What it leaves open, because a cosine may be on either side of what it is
compared with, is computed in float64, so that counts are those of float64 levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np

from phenobench.metrics.loops.both_ways import count_both_ways
from phenobench.metrics.loops.pairs import pair_levels
from phenobench.metrics.similarity import UNDEFINED, levels, margin
from phenobench.metrics.threads import in_threads
from phenobench.metrics.units import single_rows

# Images and texts of a tile of similarities: a product is fastest in large ones (float32: 8 MiB).
_IMAGES, _TEXTS = 1024, 2048
# From this share of open similarities on, a product in float64 is faster than they are one by one.
_MOST_OPEN = 1 / 64
# Pairs of one task.
_PAIRS = 2**12


@dataclass(frozen=True, eq=False)
class Candidates:
    """Counts for n images and m texts, int64.

    Attributes:
        texts_above: texts above the level of an image's own text (n,); 0 for an image without one.
        texts_at: other texts at that level (n,).
        images_above: images above the level of the best of a text's own images (m,); 0 for a text without any.
        images_at: images of other texts, or of none, at that level (m,).
        correct_at: a text's own images at that level (m,).
        n_correct: a text's own images (m,).
    """

    texts_above: np.ndarray
    texts_at: np.ndarray
    images_above: np.ndarray
    images_at: np.ndarray
    correct_at: np.ndarray
    n_correct: np.ndarray


def count_candidates(images: np.ndarray, texts: np.ndarray, correct: np.ndarray) -> Candidates:
    """Count by cosine at the resolution of ``similarity``; a zero vector's are undefined, below all others and tied.

    Args:
        images: rows of length 1, or zero, float64 (n, d).
        texts: likewise (m, d).
        correct: each image's own text (n,) int; -1 for none.
    """
    (n, d), m = images.shape, len(texts)
    undefined = np.asarray(~images.any(axis=1)), np.asarray(~texts.any(axis=1))
    single = single_rows(images), single_rows(texts)
    queries = np.flatnonzero(correct >= 0)
    own_text, own = correct[queries], np.empty(len(queries), dtype=np.float32)

    def locate(first: int) -> None:
        some = np.arange(first, min(first + _PAIRS, len(queries)))
        pair_levels(images, texts, False, some, queries, one_each, own_text, own)

    one_each = np.arange(len(queries) + 1)
    in_threads(locate, range(0, len(queries), _PAIRS))
    # Nothing is above or at infinity.
    image_bar, text_bar = np.full(n, np.inf, dtype=np.float32), np.full(m, -np.inf, dtype=np.float32)
    image_bar[queries] = own
    np.maximum.at(text_bar, correct[queries], own)
    text_bar[np.isneginf(text_bar)] = np.inf
    n_correct = np.bincount(correct[queries], minlength=m)
    correct_at = np.bincount(correct[queries][own == text_bar[correct[queries]]], minlength=m)
    of_images, of_texts = np.zeros((2, n), dtype=np.int64), np.zeros((2, m), dtype=np.int64)
    adding = Lock()

    def count(top: int) -> None:
        rows = slice(top, min(top + _IMAGES, n))
        tile = np.empty(_IMAGES * _TEXTS, dtype=np.float32)
        for first in range(0, m, _TEXTS):
            columns = slice(first, min(first + _TEXTS, m))
            level = tile[: (rows.stop - top) * (columns.stop - first)].reshape(rows.stop - top, -1)
            np.matmul(single[0][rows], single[1][columns].T, out=level)
            finish(level, rows, columns)
            most_open = int(_MOST_OPEN * level.size)
            found, others = np.zeros((2, len(level)), np.int64), np.zeros((2, level.shape[1]), np.int64)
            bars = image_bar[rows], text_bar[columns]
            if not count_both_ways(
                level, margin(d, piece=d), images[rows], texts[columns], *bars, most_open, found, others
            ):
                level = levels(images[rows] @ texts[columns].T)
                finish(level, rows, columns)
                found = np.stack([(level > bars[0][:, None]).sum(axis=1), (level == bars[0][:, None]).sum(axis=1)])
                others = np.stack([(level > bars[1]).sum(axis=0), (level == bars[1]).sum(axis=0)])
            of_images[:, rows] += found
            with adding:
                of_texts[:, columns] += others

    def finish(level: np.ndarray, rows: slice, columns: slice) -> None:
        """What is undefined, and an image's own text, which does not count."""
        level[undefined[0][rows]] = UNDEFINED
        level[:, undefined[1][columns]] = UNDEFINED
        mine = np.flatnonzero((correct[rows] >= columns.start) & (correct[rows] < columns.stop))
        level[mine, correct[rows][mine] - columns.start] = -np.inf

    in_threads(count, range(0, n, _IMAGES))
    return Candidates(of_images[0], of_images[1], of_texts[0], of_texts[1], correct_at, n_correct)
