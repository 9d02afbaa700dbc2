"""How far groups of wells lie apart: silhouette of plates, and connectivity of perturbations (Luecken et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from phenobench.errors import InputError
from phenobench.metrics.intervals import LEVEL
from phenobench.metrics.similarity import LEVELS, levels
from phenobench.metrics.units import unit_rows

_PERMUTATIONS = 20
_JACKKNIFE_GROUPS = 20


def silhouette(units: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Silhouette width of each row by cosine distance (Rousseeuw 1987), from -1 to 1, float64 (n,).

    (b - a) / max(a, b), with a the mean distance to the other rows of the row's group and b the
    least mean distance to another group. The mean cosine to a group is the product with the sum of
    its rows, so no distance between two rows is ever computed (``sklearn.metrics.silhouette_samples``
    holds all of them). 0 for a row alone in its group and where a and b are equal at the resolution
    of similarities; the cosine of a zero vector counts as 0.

    Args:
        units: rows of length 1 or zero, float64 (n, d).
        labels: groups as codes from 0 (n,), at least two of them.
    """
    size = np.bincount(labels)
    cosine = units @ _sums(units, labels, len(size)).T
    row = np.arange(len(units))
    own = cosine[row, labels] - units.any(axis=1)
    a = _resolved(1.0 - own / np.maximum(size[labels] - 1, 1))
    distance = _resolved(1.0 - cosine / np.maximum(size, 1))
    distance[:, size == 0] = np.inf
    distance[row, labels] = np.inf
    b = distance.min(axis=1)
    larger = np.maximum(a, b)
    width = np.divide(b - a, larger, out=np.zeros(len(units)), where=larger > 0)
    width[size[labels] == 1] = 0.0
    return width


def _sums(units: np.ndarray, labels: np.ndarray, n_groups: int) -> np.ndarray:
    member = coo_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(n_groups, len(labels)))
    return np.asarray(member.tocsr() @ units)


def _resolved(distance: np.ndarray) -> np.ndarray:
    return np.rint(distance * LEVELS) / LEVELS


def silhouette_with_chance(
    features: np.ndarray, labels: np.ndarray, perturbations: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Silhouette widths by ``labels``, their chance, and the mean width of perturbations without each twentieth.

    Chance is the mean over permutations of the labels within each perturbation: its wells exchange
    plates, so that chance has the same biology. A perturbation that is on one plate alone has
    nothing to exchange.

    Args:
        features: (n, d) finite.
        labels: plates or batches as codes from 0 (n,), at least two.
        perturbations: codes from 0 (n,).
        seed: of the permutations and of the groups of perturbations that are left out.

    Returns:
        Widths and expected widths, float64 (n,) each, and the means of the delete-a-group jackknife (g,).
    """
    units = unit_rows(features)
    if len(np.unique(labels)) < 2:
        raise InputError("a silhouette needs two groups and all rows are of one; leave it out")
    permuted = (labels[order] for order in _orders(perturbations, seed))
    chance = np.mean([silhouette(units, codes) for codes in permuted], axis=0)
    n = int(perturbations.max()) + 1
    left_out = np.random.default_rng(seed).permutation(n) % min(_JACKKNIFE_GROUPS, n)
    without = []
    for keep in (left_out[perturbations] != group for group in range(int(left_out.max()) + 1)):
        total = np.bincount(perturbations[keep], silhouette(units[keep], labels[keep]), minlength=n)
        size = np.bincount(perturbations[keep], minlength=n)
        without.append((total[size > 0] / size[size > 0]).mean() if keep.any() else np.nan)
    return silhouette(units, labels), chance, np.array(without)


def graph_connectivity(
    features: np.ndarray, perturbations: np.ndarray, plates: np.ndarray, k: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Share of each perturbation's wells in its largest connected part of the graph of k neighbours, and chance.

    Two wells are connected where one is among the k nearest of the other by cosine; paths run
    through wells of the perturbation alone. Where more wells tie for the last places than fit, none
    of them counts, unless all of the nearest are tied: then all do. Chance is the mean over
    permutations of the perturbations within each plate. Zero vectors have no neighbours.

    Args:
        features: (n, d) finite.
        perturbations: codes from 0 (n,).
        plates: codes (n,).
        k: neighbours, fewer than n.
        seed: of the permutations.

    Returns:
        One value a code of ``perturbations`` each, float64 (p,).

    Raises:
        InputError: there are no k other rows.
    """
    units = unit_rows(features)
    reach = _reach(units, k)
    permuted = (perturbations[order] for order in _orders(plates, seed))
    chance = np.mean([_largest_parts(units, reach, codes) for codes in permuted], axis=0)
    return _largest_parts(units, reach, perturbations), chance


def _reach(units: np.ndarray, k: int) -> np.ndarray:
    """Level of similarity of each row's last neighbour (n,); above every level for zero vectors."""
    import faiss

    n = len(units)
    if not 1 <= k < n:
        raise InputError(f"{k} nearest neighbours among {n} rows; give from 1 to {n - 1}")
    single = np.ascontiguousarray(units, dtype=np.float32)
    index = faiss.IndexFlatIP(units.shape[1])
    index.add(single)
    found = index.search(single, min(k + 2, n))[1]
    reach = np.empty(n, dtype=np.float32)
    for row, near in enumerate(found):
        others = near[near != row][: k + 1]
        # faiss compares in float32, so the few that it finds are put in order again.
        level = -np.sort(-levels(units[others] @ units[row]))
        closer = level[level > level[-1]]
        contested = len(level) > k and len(closer) < k and len(closer) > 0
        reach[row] = closer[-1] if contested else level[min(k, len(level)) - 1]
    reach[~units.any(axis=1)] = np.inf
    return reach


def _largest_parts(units: np.ndarray, reach: np.ndarray, codes: np.ndarray) -> np.ndarray:
    order = np.argsort(codes, kind="stable")
    size = np.bincount(codes)
    shares = np.empty(len(size))
    for code, (start, end) in enumerate(zip(np.cumsum(size) - size, np.cumsum(size), strict=True)):
        rows = order[start:end]
        level = levels(units[rows] @ units[rows].T)
        defined = np.isfinite(reach[rows])
        near = (level >= reach[rows][:, None]) & defined[None, :]
        part = connected_components(near, directed=True, connection="weak")[1]
        shares[code] = np.bincount(part).max() / len(rows)
    return shares


def _orders(strata: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Random orders of the rows (n,) in which each row keeps its stratum."""
    rng = np.random.default_rng(seed)
    place = np.argsort(strata, kind="stable")
    for _ in range(_PERMUTATIONS):
        order = np.empty(len(strata), dtype=np.intp)
        order[place] = np.lexsort((rng.random(len(strata)), strata))
        yield order


def jackknife_interval(value: float, without: np.ndarray) -> tuple[float, float]:
    """95 % interval from the values without each of g equal groups (delete-a-group jackknife, Kott 2001).

    Unlike the bootstrap of perturbations it leaves a perturbation out in both roles, as the one that
    is judged and as a part of what the others are judged against.

    Args:
        value: with all groups.
        without: values without each group (g,); the whole line for fewer than two.
    """
    g = len(without)
    if g < 2 or np.isnan(without).any():
        return (float("-inf"), float("inf"))
    error = np.sqrt((g - 1) / g * np.square(without - without.mean()).sum())
    half = float(stats.t.ppf(0.5 + LEVEL / 2, g - 1) * error)
    return value - half, value + half
