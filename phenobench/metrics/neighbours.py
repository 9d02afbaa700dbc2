"""Nearest neighbours by cosine: faiss finds them, and ties at the last place are resolved by expectation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from phenobench.errors import InputError
from phenobench.metrics.similarity import UNDEFINED, levels
from phenobench.metrics.units import unit_rows

# faiss computes in float32: candidates closer than this to the last place are looked at again, exactly.
_DOUBT = 1e-5


class NeighbourShare(NamedTuple):
    """What ``same_label_share`` finds, float64 (n,) each.

    Attributes:
        share: of each row's k nearest rows that have its label.
        chance: its exact expectation without information.
        credit: what the row adds to the shares of others as their neighbour, against the next in its place.
    """

    share: np.ndarray
    chance: np.ndarray
    credit: np.ndarray


def same_label_share(features: np.ndarray, labels: np.ndarray, k: int) -> NeighbourShare:
    """Share of each row's k nearest rows that have its label, and its exact expectation without information.

    Neighbours that tie for the last places count by their expectation over random orders; a zero
    vector has no cosine and is tied with every row.

    Args:
        features: (n, d) finite.
        labels: n integer codes.
        k: neighbours, fewer than n.

    Raises:
        InputError: there are no k other rows.
    """
    import faiss

    units = unit_rows(features)
    n = len(units)
    if not 1 <= k < n:
        raise InputError(f"{k} nearest neighbours among {n} rows; give from 1 to {n - 1}")
    index = faiss.IndexFlatIP(units.shape[1])
    index.add(np.ascontiguousarray(units, dtype=np.float32))
    # The row itself, k neighbours, and one more to see whether the last place is contested.
    similarity, found = index.search(np.ascontiguousarray(units, dtype=np.float32), min(k + 2, n))
    others = found != np.arange(n)[:, None]
    # Where the row itself is not among those found (equals crowd it out), the last one found goes instead.
    others[others.all(axis=1), -1] = False
    similarity = similarity[others].reshape(n, -1)
    same = labels[found[others].reshape(n, -1)] == labels[:, None]
    share = same[:, :k].mean(axis=1)
    near = found[others].reshape(n, -1)[:, :k]
    contested = similarity[:, k - 1] - similarity[:, k] < _DOUBT if similarity.shape[1] > k else np.zeros(n, dtype=bool)
    contested |= ~units.any(axis=1)
    for row in np.flatnonzero(contested).tolist():
        share[row] = _expected_share(units, labels, row, k)
    # Where the last place is contested, nobody in particular is a neighbour.
    credit = np.where(contested[:, None], 0.0, (same[:, :k] - share[:, None]) / k)
    counts = np.bincount(labels)
    credits = np.bincount(near.ravel(), weights=credit.ravel(), minlength=n)
    return NeighbourShare(share, (counts[labels] - 1) / (n - 1), credits)


def _expected_share(units: np.ndarray, labels: np.ndarray, row: int, k: int) -> float:
    level = levels(units @ units[row])
    level[~units.any(axis=1)] = UNDEFINED
    if not units[row].any():
        level[:] = UNDEFINED
    level[row] = -np.inf
    last = -np.partition(-level, k - 1)[k - 1]
    same = labels == labels[row]
    above, tied = level > last, level == last
    places = k - above.sum()
    # In this order an all-tied row is at chance to the last bit.
    return float((above & same).sum() / k + places / k * ((tied & same).sum() / tied.sum()))
