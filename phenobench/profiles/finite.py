"""Whether all values of a matrix are finite, and the sentence where they are not."""

from __future__ import annotations

import numpy as np

from phenobench.errors import InputError


def all_finite(features: np.ndarray) -> bool:
    """Whether no value is NaN or infinite, without a mask as large as the matrix in the common case."""
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.ones(len(features), dtype=features.dtype) @ features
    # A sum can overflow where no value does.
    return bool(np.isfinite(sums).all() or np.isfinite(features).all())


def require_finite(features: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuse NaN and infinite values, naming the first by row and column.

    Raises:
        InputError: with the count and the place.
    """
    if all_finite(features):
        return
    bad = ~np.isfinite(features)
    row, column = np.unravel_index(int(bad.argmax()), bad.shape)
    kind = "NaN" if np.isnan(features[row, column]) else "infinite"
    raise InputError(
        f"{int(bad.sum())} feature values are NaN or infinite, in {int(bad.any(axis=1).sum())} wells and "
        f"{int(bad.any(axis=0).sum())} features (first: row {row + 1}, feature '{names[column]}' is {kind}); "
        "leave those wells or features out"
    )
