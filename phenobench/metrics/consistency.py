"""Perturbation consistency: how alike the replicates of a perturbation are, against negative-control perturbations."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.metrics.similarity import LEVELS
from phenobench.metrics.units import unit_rows


def perturbation_consistency(
    features: np.ndarray, labels: Sequence[str], *, null_labels: Collection[str]
) -> pd.DataFrame:
    """Mean pairwise cosine of each perturbation's replicates, with a p-value against null perturbations.

    EFAAR (Celik et al. 2024; ``efaar_benchmarking`` 1.0 ``pert_signal_consistency_benchmark``),
    with p = (r + 1) / (n + 1) for the r of n null perturbations that are at least as consistent,
    where EFAAR's r / n can be 0. Consistencies are compared at the resolution of similarities, so
    that a collapsed embedding ties everywhere and has p = 1.

    Args:
        features: one row a well, (n, d) finite.
        labels: n perturbation labels.
        null_labels: the negative-control perturbations, such as unexpressed genes.

    Returns:
        One row a perturbation in sorted order: ``perturbation``, ``n_replicates``, ``consistency``
        (NaN below two replicates), ``p_value`` (NaN for null perturbations and where undefined).

    Raises:
        InputError: labels that do not fit the features or are missing, or no null perturbation with two replicates.
    """
    units = unit_rows(features)
    if len(labels) != len(units):
        raise InputError(f"{len(labels)} labels for {len(units)} rows of features; give one each")
    codes, names = pd.factorize(np.asarray(labels, dtype=object), sort=True)
    if (codes < 0).any():
        raise InputError(f"row {int(codes.argmin()) + 1} has no perturbation label; give it one or leave the row out")
    size = np.bincount(codes, minlength=len(names))
    order = np.argsort(codes, kind="stable")
    sums = np.add.reduceat(units[order], np.cumsum(size) - size, axis=0)
    # Zero vectors have no direction: their pairs count as cosine 0, and their length is not subtracted.
    lengths = np.bincount(codes, weights=units.any(axis=1), minlength=len(names))
    with np.errstate(invalid="ignore", divide="ignore"):
        consistency = (np.einsum("ij,ij->i", sums, sums) - lengths) / (size * (size - 1.0))
    consistency[size < 2] = np.nan
    is_null = np.isin(np.asarray(names, dtype=str), list(map(str, null_labels)))
    level = np.rint(consistency * LEVELS)
    null = np.sort(level[is_null & (size > 1)])
    if not len(null):
        raise InputError("no null perturbation has two replicates; name negative-control perturbations that do")
    at_least = len(null) - np.searchsorted(null, level, "left")
    p_value = (at_least + 1.0) / (len(null) + 1.0)
    p_value[is_null | (size < 2)] = np.nan
    return pd.DataFrame({"perturbation": names, "n_replicates": size, "consistency": consistency, "p_value": p_value})
