"""Does one large complex carry a score of gene pairs? Leave it out and see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from phenobench.errors import InputError


@dataclass(frozen=True)
class Influence:
    """The gene group without which a share of gene pairs moves most.

    Attributes:
        hub: the gene whose group it is.
        genes: the hub and all genes paired with it, ascending.
        n_pairs: pairs within the group.
        share: of all pairs.
        share_without: of the pairs that are not within the group; NaN where none is left.
    """

    hub: int
    genes: np.ndarray
    n_pairs: int
    share: float
    share_without: float


def most_influential_group(hits: np.ndarray, pairs: np.ndarray) -> Influence:
    """Leave out the pairs within each gene's group, a gene with all its annotated partners, and take what moves most.

    The members of a complex whose pairs are all annotated have the same group, the complex, so no table
    of complexes is needed. With A the pairs and H their hits as symmetric matrices, the hits
    within the group of g are sum_j H_gj + (A H A)_gg / 2. Groups that are all the pairs there are
    leave nothing to compare with, and count only where there is no other.

    Args:
        hits: 0 to 1 a pair (m,).
        pairs: the two genes of each pair as integers (m, 2); distinct undirected pairs.

    Raises:
        InputError: there are no pairs.
    """
    m = len(pairs)
    if not m:
        raise InputError("no annotated pair is in the map, so no gene group can be left out")
    together = _symmetric(np.ones(m), pairs)
    found = _symmetric(np.asarray(hits, dtype=np.float64), pairs)
    n_within, hits_within = _within(together, together), _within(together, found)
    share = float(hits.mean())
    left = m - n_within
    with np.errstate(invalid="ignore"):
        without = np.where(left > 0, (float(hits.sum()) - hits_within) / left, np.nan)
    moved = np.where(n_within > 0, np.nan_to_num(np.abs(without - share), nan=0.0), -1.0)
    # Of groups that move it equally but for rounding, such as the members of one complex, the first.
    hub = int(np.argmax(np.round(moved, 9)))
    genes = np.union1d(together[[hub]].indices, [hub])
    return Influence(hub, genes, int(n_within[hub]), share, float(without[hub]))


def _symmetric(values: np.ndarray, pairs: np.ndarray) -> sparse.csr_array:
    n = int(pairs.max()) + 1
    one, other = pairs.T
    entries = (np.concatenate([values, values]), (np.concatenate([one, other]), np.concatenate([other, one])))
    return sparse.csr_array(entries, shape=(n, n))


def _within(together: sparse.csr_array, values: sparse.csr_array) -> np.ndarray:
    """Sum of the values of the pairs within each gene's group (n,)."""
    return np.asarray(values.sum(axis=1) + (together @ values).multiply(together).sum(axis=1) / 2).ravel()
