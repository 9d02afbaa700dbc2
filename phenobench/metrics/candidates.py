"""How many candidates are above and at the level of the best correct one, in both directions of one product.

The product is in float32. What it leaves open, because a cosine may be on either side of what it is
compared with, is computed in float64, so that counts are those of float64 levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np

from phenobench.metrics.similarity import LEVELS, UNDEFINED, levels
from phenobench.metrics.threads import in_threads

# Images and texts of a tile of similarities, which a core's cache holds (float32: 1 MiB).
_IMAGES, _TEXTS = 256, 1024
# From this share of open similarities on, a product in float64 is faster than they are one by one.
_MOST_OPEN = 1 / 64
# Numbers gathered at a time to pair up rows.
_GATHERED_CELLS = 2**17


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
    zero_images, zero_texts = np.asarray(~images.any(axis=1)), np.asarray(~texts.any(axis=1))
    estimating = images.astype(np.float32), texts.astype(np.float32)
    # Rounding of both factors and of d products and sums, each by up to 2**-24, and a level for the rounding to levels.
    margin = np.float32((d + 4) * 2.0**-24 * LEVELS + 1)

    def pair_levels(image: np.ndarray, text: np.ndarray) -> np.ndarray:
        level = np.empty(len(image), dtype=np.float32)
        step = max(1, _GATHERED_CELLS // max(1, d))
        for start in range(0, len(image), step):
            part = slice(start, start + step)
            level[part] = levels(np.einsum("ij,ij->i", images[image[part]], texts[text[part]]))
        level[zero_images[image] | zero_texts[text]] = UNDEFINED
        return level

    queries = np.flatnonzero(correct >= 0)
    own = pair_levels(queries, correct[queries])
    # Nothing is above or at infinity.
    image_bar, text_bar = np.full(n, np.inf, dtype=np.float32), np.full(m, -np.inf, dtype=np.float32)
    image_bar[queries] = own
    np.maximum.at(text_bar, correct[queries], own)
    text_bar[np.isneginf(text_bar)] = np.inf
    n_correct = np.bincount(correct[queries], minlength=m)
    correct_at = np.bincount(correct[queries][own == text_bar[correct[queries]]], minlength=m)
    texts_above, texts_at = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    images_above, images_at = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    adding = Lock()

    def count(top: int) -> None:
        rows = slice(top, min(top + _IMAGES, n))
        for first in range(0, m, _TEXTS):
            columns = slice(first, min(first + _TEXTS, m))
            bars = image_bar[rows, None], text_bar[columns]
            # Levels where they are needed, and anywhere else something on the same side of both bars.
            level = (estimating[0][rows] @ estimating[1][columns].T) * np.float32(LEVELS)
            open_ = (np.abs(level - bars[0]) <= margin) | (np.abs(level - bars[1]) <= margin)
            place = np.flatnonzero(open_)
            if len(place) > _MOST_OPEN * level.size:
                level = levels(images[rows] @ texts[columns].T)
            else:
                image, text = np.divmod(place, level.shape[1])
                level.ravel()[place] = pair_levels(image + top, text + first)
            level[zero_images[rows]] = UNDEFINED
            level[:, zero_texts[columns]] = UNDEFINED
            mine = np.flatnonzero((correct[rows] >= first) & (correct[rows] < columns.stop))
            level[mine, correct[rows][mine] - first] = -np.inf
            texts_above[rows] += np.count_nonzero(level > bars[0], axis=1)
            texts_at[rows] += np.count_nonzero(level == bars[0], axis=1)
            above, at = np.count_nonzero(level > bars[1], axis=0), np.count_nonzero(level == bars[1], axis=0)
            with adding:
                images_above[columns] += above
                images_at[columns] += at

    in_threads(count, range(0, n, _IMAGES))
    return Candidates(texts_above, texts_at, images_above, images_at, correct_at, n_correct)
