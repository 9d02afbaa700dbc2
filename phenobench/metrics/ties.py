"""Exact expectations over random orders of tied items; chance is the case where everything is tied."""

from __future__ import annotations

import numpy as np


def harmonic(n: int) -> np.ndarray:
    """Harmonic numbers H_0 ... H_n, float64 (n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n + 1))])


def precision_in_block(
    positives: np.ndarray, negatives: np.ndarray, above: np.ndarray, rank: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """Expected sum of precision at the positives of blocks of tied items, float64 (m,).

    A block of t = p + q tied items (p positives, q negatives) starts behind ``rank`` items of which
    ``above`` are positives. At place j each order puts a positive with probability p / t, and then
    (j - 1)(p - 1) / (t - 1) positives stand before it on average; summing precision over the
    places gives a closed form in harmonic numbers (McSherry and Najork 2008, section 3).

    Args:
        positives: p of each block (m,), at least 1.
        negatives: q of each block (m,).
        above: positives ranked above the block (m,).
        rank: items ranked above the block (m,).
        numbers: harmonic numbers up to the largest list.
    """
    size = positives + negatives
    slope = np.divide(positives - 1.0, size - 1.0, out=np.zeros(len(size)), where=size > 1)
    tail = numbers[rank + size] - numbers[rank]
    return positives / size * (slope * size + (above + 1.0 - slope * (rank + 1.0)) * tail)


def expected_average_precision(n_positive: np.ndarray, n_total: np.ndarray) -> np.ndarray:
    """E[AP] of a random ranking, exactly, for arrays of equal shape; NaN without positives or negatives."""
    n_positive, n_total = np.asarray(n_positive, dtype=np.int64), np.asarray(n_total, dtype=np.int64)
    defined = (n_positive > 0) & (n_total > n_positive)
    expected = np.full(n_positive.shape, np.nan)
    if defined.any():
        positives, total = n_positive[defined], n_total[defined]
        zero = np.zeros(len(total), dtype=np.int64)
        numbers = harmonic(int(total.max()))
        expected[defined] = precision_in_block(positives, total - positives, zero, zero, numbers) / positives
    return expected


def hit_probability(k: int, better: np.ndarray, correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Probability that a correct candidate is among the first k, float64 of the common shape.

    ``better`` wrong candidates rank above the best correct one, which is tied with ``correct`` - 1
    other correct and ``wrong`` wrong ones: 1 - C(wrong, s) / C(wrong + correct, s) for the
    s = k - better places that are left (hypergeometric).
    """
    better, correct, wrong = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in (better, correct, wrong)))
    places = np.clip(k - better, 0, correct + wrong)
    miss = np.ones(better.shape)
    for place in range(k):
        # Place by place: the next one goes to a wrong candidate too.
        left = np.maximum(correct + wrong - place, 1)
        miss *= np.where(place < places, np.maximum(wrong - place, 0) / left, 1.0)
    return 1.0 - miss


def first_rank(better: np.ndarray, correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Expected rank, from 1, of the first correct candidate, float64; arguments as ``hit_probability``.

    The first of c items among c + w in random order is at (c + w + 1) / (c + 1) on average.
    """
    return np.asarray(better + (correct + wrong + 1) / (correct + 1), dtype=np.float64)


def first_reciprocal(better: np.ndarray, correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Expected reciprocal rank of the first correct candidate, float64 (n,); arguments (n,) as ``hit_probability``.

    The first of c items among c + w is at place j + 1 with probability
    C(w, j) / C(c + w, j) * c / (c + w - j).
    """
    # Without ties with wrong ones, the first correct candidate is the next.
    reciprocal = 1.0 / (better + 1.0)
    tied = np.flatnonzero(wrong)
    counts = np.stack([better, correct, wrong])
    # Queries with the same counts, next to each other.
    tied = tied[np.lexsort(counts[:, tied])]
    ends = np.flatnonzero((np.diff(counts[:, tied], axis=1) != 0).any(axis=0)) + 1
    for queries in np.split(tied, ends) if len(tied) else ():
        before, right, others = counts[:, queries[0]]
        place = np.arange(others + 1)
        left = right + others - place
        # All of the places before are wrong ones.
        wrong_so_far = np.concatenate([[1.0], np.cumprod((others - place[:-1]) / left[:-1])])
        reciprocal[queries] = np.sum(wrong_so_far * right / left / (before + place + 1))
    return reciprocal
