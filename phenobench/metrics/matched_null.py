"""Consistency of replicates against whole random groups of wells from the same plates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.metrics.significance import distinct_positions
from phenobench.metrics.similarity import LEVELS
from phenobench.metrics.units import unit_rows

# Cells of the sums of drawn groups held at a time: 2**22 in float64 are 32 MiB.
_BLOCK_CELLS = 2**22


def matched_consistency(
    features: np.ndarray, labels: np.ndarray, strata: np.ndarray, *, draws: int, seed: int
) -> pd.DataFrame:
    """Mean pairwise cosine of each perturbation's replicates, ranked among random groups of the same plates.

    A random group has as many wells of each plate as the perturbation, drawn without replacement
    from all wells of that plate, whatever is in them (EFAAR draws 5,000 groups matched to the
    batches of the replicates). A plate's own look is therefore in both, and on pure noise every
    rank is equally likely. Perturbations of the same composition share their groups, which depend
    on the seed and the composition alone.

    Args:
        features: one row a well, (n, d) finite.
        labels: perturbations as codes from 0 (n,).
        strata: plates as codes from 0 (n,).
        draws: random groups for each composition.
        seed: of the random groups.

    Returns:
        One row a perturbation of at least two wells: ``code``, ``n_replicates``, ``consistency``, and of the
        random groups ``n_above`` that are more consistent and ``n_equal`` at the resolution of similarities.

    Raises:
        InputError: no perturbation has two wells.
    """
    units = unit_rows(features)
    defined = np.asarray(units.any(axis=1))
    size = np.bincount(labels)
    rows_of = np.split(np.argsort(labels, kind="stable"), np.cumsum(size)[:-1])
    members = {code: rows for code, rows in enumerate(rows_of) if len(rows) > 1}
    if not members:
        raise InputError("no perturbation has two wells, so there are no replicates to compare; check its column")
    pools = [np.flatnonzero(strata == plate) for plate in range(int(strata.max()) + 1)]
    alike: dict[tuple[int, ...], list[int]] = {}
    for code, rows in members.items():
        alike.setdefault(tuple(np.bincount(strata[rows], minlength=len(pools)).tolist()), []).append(code)
    found = []
    for plates, codes in alike.items():
        own = np.stack([members[code] for code in codes])
        value = _levels(units, defined, own)
        null = np.sort(_levels(units, defined, _groups(pools, plates, draws, seed)))
        below, upto = (null.searchsorted(value, side) for side in ("left", "right"))
        found.append(
            pd.DataFrame(
                {
                    "code": codes,
                    "n_replicates": own.shape[1],
                    "consistency": value / LEVELS,
                    "n_above": draws - upto,
                    "n_equal": upto - below,
                }
            )
        )
    return pd.concat(found).sort_values("code", ignore_index=True)


def _groups(pools: list[np.ndarray], plates: tuple[int, ...], draws: int, seed: int) -> np.ndarray:
    """Rows of random groups (draws, n_wells)."""
    rng = np.random.default_rng([seed, *plates])
    return np.hstack(
        [
            pool[distinct_positions(rng, draws, count, len(pool))]
            for pool, count in zip(pools, plates, strict=True)
            if count
        ]
    )


def _levels(units: np.ndarray, defined: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean pairwise cosine of each group of rows (g, k), in levels of similarity; zero vectors have cosine 0."""
    n, size = groups.shape
    means = np.empty(n)
    step = max(1, _BLOCK_CELLS // units.shape[1])
    for start in range(0, n, step):
        block = groups[start : start + step]
        sums = np.zeros((len(block), units.shape[1]))
        for column in block.T:
            sums += units[column]
        squares = np.einsum("ij,ij->i", sums, sums) - defined[block].sum(axis=1)
        means[start : start + step] = squares / (size * (size - 1.0))
    return np.rint(means * LEVELS)
