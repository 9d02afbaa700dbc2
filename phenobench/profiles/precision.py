"""Features that float32 cannot hold: what varies in them is lost beside how large they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Rounding to float32 takes more than this share of a feature's deviation, or more than this share of its values is
# no longer different from another.
_LOST, _MERGED = 1e-3, 0.1
# Rows by which a feature is judged, at equal steps.
_SAMPLE = 1024


def loses(values: np.ndarray) -> bool:
    """Whether float32 keeps a feature (n,) too coarsely for what varies in it.

    Its rounding is more than 0.1 % of the feature's deviation, or makes a tenth of the different values equal: plates
    may lie far from each other, and their wells near each other.
    """
    sample = values[:: max(1, len(values) // _SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if len(sample) < 2:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        # Less the first value, since squares of large numbers lose what varies as well.
        deviation = float((sample - sample[0]).std())
        rounded = sample.astype(np.float32)
    if not 0 < deviation < np.inf or not np.isfinite(rounded).all():
        return False
    if float(np.spacing(np.abs(rounded).max())) > _LOST * deviation:
        return True
    if values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        return False
    return len(np.unique(rounded)) < (1 - _MERGED) * len(np.unique(sample))


def in_double(features: np.ndarray, exact: Mapping[int, np.ndarray]) -> np.ndarray:
    """The features, float64 (n, d), for steps that subtract a location before anything else.

    Args:
        features: float32 (n, d), with the columns of ``exact`` rounded.
        exact: those columns in float64 (n,), by their number.
    """
    found = features.astype(np.float64)
    for column, values in exact.items():
        found[:, column] = values
    return found
