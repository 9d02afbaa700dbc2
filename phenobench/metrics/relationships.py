"""Recall of annotated gene pairs in the tails of a map's cosine distribution (EFAAR), with exact chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from phenobench.errors import InputError, unknown
from phenobench.metrics.similarity import LEVELS, levels, unit_rows

TailTies = Literal["expected", "strict"]
_BLOCK_CELLS = 2**23


@dataclass(frozen=True)
class RelationshipRecall:
    """Recall of annotated pairs, and what is needed to read it.

    Attributes:
        recall: share of the annotated pairs whose cosine lies in a tail; NaN without pairs.
        chance: expected recall of pairs drawn at random from the map, exactly, ties counted.
        ceiling: the highest recall that any embedding can reach, since annotated pairs are part
            of their own null distribution and a tail has a fixed number of places.
        n_pairs: annotated pairs with both names in the map.
        n_genes: rows of the map.
        cosines: of the annotated pairs, float64 (n_pairs,).
        hits: probability that a pair lies in a tail, float64 (n_pairs,): 0 or 1 but for ties at the edge.
        pairs: the annotated pairs as rows of the map, (n_pairs, 2) int.
    """

    recall: float
    chance: float
    ceiling: float
    n_pairs: int
    n_genes: int
    cosines: np.ndarray
    hits: np.ndarray
    pairs: np.ndarray


@dataclass(frozen=True)
class CosineMap:
    """The distribution of all pairwise cosines of a map, without the n x n matrix.

    Attributes:
        units: rows of length 1, float64 (n, d); a zero row stays zero and has cosine 0 with all.
        index: name -> row.
        below: number of pairs below each level, int64 (2 * LEVELS + 2,); entry 0 is level -LEVELS.
    """

    units: np.ndarray
    index: dict[str, int]
    below: np.ndarray

    @property
    def n_pairs(self) -> int:
        """Pairs of distinct rows, n (n - 1) / 2."""
        return int(self.below[-1])


def cosine_map(features: np.ndarray, names: Sequence[str]) -> CosineMap:
    """Count all pairwise cosines by level, block by block: exact ranks in memory that does not grow with n^2.

    Args:
        features: (n, d) finite.
        names: n distinct names.

    Raises:
        InputError: a repeated name, fewer than two rows, or features that do not fit the names.
    """
    units = unit_rows(features)
    index = {str(name): row for row, name in enumerate(names)}
    if len(names) != len(units):
        raise InputError(f"{len(names)} names for {len(units)} rows of features; give one each")
    if len(index) != len(names):
        repeated = next(name for row, name in enumerate(names) if index[str(name)] != row)
        raise InputError(f"the name '{repeated}' occurs twice; aggregate its rows to one before scoring")
    if len(units) < 2:
        raise InputError(f"a map needs at least 2 rows and has {len(units)}; check the gene column and the exclusions")
    counts = np.zeros(2 * LEVELS + 1, dtype=np.int64)
    step = max(1, _BLOCK_CELLS // len(units))
    for start in range(0, len(units), step):
        block = _levels_of(units[start : start + step] @ units[start:].T)
        # Row i of the block meets column j >= i of the map; the upper triangle without the diagonal.
        block = block[np.triu_indices(len(block), k=1, m=block.shape[1])]
        counts += np.bincount(block, minlength=len(counts))
    return CosineMap(units, index, np.concatenate([[0], np.cumsum(counts)]))


def _levels_of(cosines: np.ndarray) -> np.ndarray:
    return np.clip(levels(cosines).astype(np.int64) + LEVELS, 0, 2 * LEVELS)


def recall_in_map(
    cosines: CosineMap,
    pairs: Iterable[Sequence[str]] | np.ndarray,
    *,
    tails: tuple[float, float] = (0.05, 0.95),
    ties: TailTies = "expected",
) -> RelationshipRecall:
    """``relationship_recall`` on a map whose cosines are counted already."""
    low, high = tails
    if not 0 <= low < high <= 1:
        raise InputError(f"tails {tails} are no fractions in order; give for example (0.05, 0.95)")
    if ties not in ("expected", "strict"):
        raise unknown("tie rule", ties, ("expected", "strict"))
    rows = _rows_of(cosines, pairs)
    total = cosines.n_pairs
    values = np.einsum("ij,ij->i", cosines.units[rows[:, 0]], cosines.units[rows[:, 1]])
    level = _levels_of(values)
    below = cosines.below[level]
    # A cosine that another order of summation puts on the next level may find nobody there.
    upto = np.maximum(cosines.below[level + 1], below + 1)
    lower, upper = _places(low, high, total)
    if ties == "strict":
        hits = ((upto / total <= low) | (below / total >= high)).astype(np.float64)
        chance = _strict_chance(cosines.below, low, high)
    else:
        # The block of tied pairs fills ranks below + 1 ... upto; a share of them lies in a tail.
        in_lower = np.clip(lower - below, 0, upto - below)
        in_upper = np.clip(upto - (total - upper), 0, upto - below)
        hits = (in_lower + in_upper) / (upto - below)
        chance = (lower + upper) / total
    n = len(rows)
    recall = float("nan")
    if n:
        # Written as a difference from chance, so that an all-tied map is at chance to the last bit.
        recall = float(hits.mean()) if ties == "strict" else chance + float(np.mean(hits - chance))
    return RelationshipRecall(
        recall=recall,
        chance=chance,
        ceiling=min(1.0, (lower + upper) / n) if n else float("nan"),
        n_pairs=n,
        n_genes=len(cosines.units),
        cosines=values,
        hits=hits,
        pairs=rows,
    )


def relationship_recall(
    features: np.ndarray,
    names: Sequence[str],
    pairs: Iterable[Sequence[str]] | np.ndarray,
    *,
    tails: tuple[float, float] = (0.05, 0.95),
    ties: TailTies = "expected",
) -> RelationshipRecall:
    """Share of annotated pairs whose cosine lies in the lower or upper tail of all pairs of the map.

    Celik et al. 2024 (EFAAR) and ``efaar_benchmarking`` 1.0 ``compute_recall``. The null is all
    n (n - 1) / 2 pairs, the annotated ones among them. ``ties="strict"`` is EFAAR's rule, where a
    block of tied pairs must lie wholly in a tail; "expected" is the exact expectation over random
    orders of tied pairs. The cosine of a zero vector counts as 0.

    Args:
        features: one row a gene (or perturbation), (n, d) finite.
        names: n distinct names.
        pairs: annotated pairs of names, (m, 2); undirected, self pairs and duplicates are
            ignored, as are pairs with a name that the map lacks.
        tails: upper end of the lower tail and lower end of the upper tail, as fractions.
        ties: "expected" or "strict".

    Raises:
        InputError: (a ValueError) a repeated name, fewer than two rows, NaN features, bad tails.
    """
    return recall_in_map(cosine_map(features, names), pairs, tails=tails, ties=ties)


def _rows_of(cosines: CosineMap, pairs: Iterable[Sequence[str]] | np.ndarray) -> np.ndarray:
    """Distinct undirected pairs with both names in the map, as sorted rows (m, 2)."""
    values: Any = pairs.to_numpy() if hasattr(pairs, "to_numpy") else pairs
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    found = {
        (min(a, b), max(a, b))
        for a, b in ((cosines.index.get(str(one)), cosines.index.get(str(two))) for one, two in listed)
        if a is not None and b is not None and a != b
    }
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def _places(low: float, high: float, total: int) -> tuple[int, int]:
    """Places in the lower and the upper tail: ranks r with r / total <= low, and with (r - 1) / total >= high."""
    lower = int(low * total)
    lower += (lower + 1) / total <= low
    lower -= lower / total > low
    first = int(high * total)
    first += first / total < high
    return lower, total - first


def _strict_chance(below: np.ndarray, low: float, high: float) -> float:
    total = below[-1]
    in_lower = below[np.searchsorted(below / total, low, "right") - 1]
    in_upper = total - below[np.searchsorted(below / total, high, "left")] if high <= 1 else 0
    return float((in_lower + in_upper) / total)
