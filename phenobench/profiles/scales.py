"""One feature on a larger scale than all others: cosines see nothing else, and a reader is told."""

from __future__ import annotations

import numpy as np

from phenobench.profiles.profiles import Profiles

# A feature makes up most of a profile above this share of its squared length, and of an embedding if it does so in as
# many wells.
_MOST, _WELLS = 0.5, 0.9
_SAMPLE = 20_000
# Features held in float64 at a time: 2 MiB.
_BLOCK_CELLS = 2**18


def notes_on_scales(profiles: Profiles) -> tuple[str, ...]:
    """A note if one feature makes up most of the squared length of nearly all profiles.

    At most 20,000 rows are looked at, at equal steps. An embedding of a single feature has no such note.
    """
    n, d = profiles.features.shape
    if d < 2 or not n:
        return ()
    rows = np.linspace(0, n - 1, min(n, _SAMPLE)).round().astype(np.intp)
    largest = np.zeros(len(rows), dtype=np.intp)
    share = np.zeros(len(rows))
    allowed = (1 - _WELLS) * len(rows) + 1e-9
    step = max(1, _BLOCK_CELLS // d)
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        largest[block], share[block] = _largest(profiles.features[rows[block]])
        # Most embeddings are seen to be sound long before the last row.
        if np.count_nonzero(share[: start + step] <= _MOST) > allowed:
            return ()
    feature = int(np.bincount(largest[share > _MOST], minlength=1).argmax())
    # Of a row where another feature is the largest, or none has most of it, this one's share is in the lower tenth.
    own = np.where(largest == feature, share, 0.0)
    if np.count_nonzero(own <= _MOST) > allowed:
        return ()
    note = (
        f"the feature {profiles.feature_names[feature]} makes up {100 * np.median(own):.0f} % of the squared length of "
        "a profile (median), so cosines follow it alone; scale features first, for example --normalization "
        "standardize, or leave the column out"
    )
    return (note,)


def _largest(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The feature that makes up most of each row's squared length (m,), and its share (m,), 0 in a row of zeros."""
    squares = np.square(features, dtype=np.float64)
    largest = squares.argmax(axis=1)
    own, total = squares[np.arange(len(squares)), largest], squares.sum(axis=1)
    return largest, np.divide(own, total, out=np.zeros(len(own)), where=total > 0)
