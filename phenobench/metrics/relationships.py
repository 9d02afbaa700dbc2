"""Recall of annotated gene pairs in the tails of a map's cosine distribution (EFAAR), with exact chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenobench.errors import InputError, unknown
from phenobench.metrics.loops.levels import collect_levels, count_levels
from phenobench.metrics.similarity import LEVELS
from phenobench.metrics.threads import in_threads
from phenobench.metrics.units import unit_rows

TailTies = Literal["expected", "strict"]
# Rows and columns of a product, and levels counted at a time: the counts are in no cache any more after each product.
_TILE, _BLOCK_CELLS = 512, 2**22
# Parts of the counting, each with some 40 MB of its own while a thread works on it, and pairs that it counts at most.
_TASKS, _MOST_COUNTED = 8, 2**31
# Numbers gathered at a time to pair up rows; what a core's cache holds.
_GATHERED_CELLS = 2**17


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
        names: of the rows.
        lowest: the lowest level that a pair has.
        below: number of pairs below the lowest level, and below each higher one as far as pairs go, int64.
    """

    units: np.ndarray
    names: tuple[str, ...]
    lowest: int
    below: np.ndarray

    @property
    def n_pairs(self) -> int:
        """Pairs of distinct rows, n (n - 1) / 2."""
        return int(self.below[-1])

    def below_level(self, level: np.ndarray) -> np.ndarray:
        """Number of pairs below each level, int64."""
        return self.below.take(level - self.lowest, mode="clip")


def cosine_map(features: np.ndarray, names: Sequence[str]) -> CosineMap:
    """Count all pairwise cosines by level, tile by tile: exact ranks in memory that does not grow with n^2.

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
    adding = Lock()

    def count(starts: range) -> tuple[int, int]:
        mine = np.zeros(len(counts), dtype=np.uint32)
        tile, piece = np.empty(_TILE**2), np.empty(max(_BLOCK_CELLS, _TILE**2), dtype=np.int32)
        low, high, filled = len(counts), 0, 0

        def add_up() -> None:
            nonlocal low, high, filled
            lowest, end = count_levels(piece[:filled], mine)
            low, high, filled = min(low, lowest), max(high, end), 0

        for start in starts:
            rows = units[start : start + _TILE]
            for first in range(start, len(units), _TILE):
                others = units[first : first + _TILE]
                cosines = tile[: len(rows) * len(others)].reshape(len(rows), -1)
                np.matmul(rows, others.T, out=cosines)
                if filled + cosines.size > len(piece):
                    add_up()
                filled += collect_levels(cosines, first == start, piece[filled:])
        add_up()
        with adding:
            counts[low:high] += mine[low:high]
        return low, high

    # The last row meets no later one. Long and short strips alternate, so that no task is much longer.
    strips = range(0, len(units) - 1, _TILE)
    n_tasks = min(max(_TASKS, len(units) ** 2 // _MOST_COUNTED + 1), len(strips))
    reaches = in_threads(count, [strips[task::n_tasks] for task in range(n_tasks)])
    lowest, end = min(low for low, _ in reaches), max(high for _, high in reaches)
    below = np.zeros(end - lowest + 1, dtype=np.int64)
    np.cumsum(counts[lowest:end], out=below[1:])
    return CosineMap(units, tuple(index), lowest - LEVELS, below)


@dataclass(frozen=True)
class LocatedPairs:
    """Where annotated pairs are among all pairs of a map.

    Attributes:
        rows: distinct undirected pairs with both names in the map, as sorted rows of it, (m, 2) int.
        cosines: float64 (m,).
        level: of the cosines, int64 (m,).
        below: pairs of the map below that level, int64 (m,).
        upto: pairs of the map up to that level, int64 (m,).
    """

    rows: np.ndarray
    cosines: np.ndarray
    level: np.ndarray
    below: np.ndarray
    upto: np.ndarray


def locate(cosines: CosineMap, pairs: Iterable[Sequence[str]] | np.ndarray) -> LocatedPairs:
    """Find annotated pairs in a map; see ``relationship_recall`` for those that are ignored."""
    rows = _rows_of(cosines, pairs)
    values = np.empty(len(rows))
    step = max(1, _GATHERED_CELLS // max(1, cosines.units.shape[1]))

    def pair_up(start: int) -> None:
        one, other = rows[start : start + step].T
        np.einsum("ij,ij->i", cosines.units[one], cosines.units[other], out=values[start : start + step])

    in_threads(pair_up, range(0, len(rows), step))
    level = np.rint(values * LEVELS).astype(np.int64)
    return LocatedPairs(rows, values, level, cosines.below_level(level), cosines.below_level(level + 1))


def recall_in_map(
    cosines: CosineMap,
    pairs: Iterable[Sequence[str]] | np.ndarray | LocatedPairs,
    *,
    tails: tuple[float, float] = (0.05, 0.95),
    ties: TailTies = "expected",
) -> RelationshipRecall:
    """``relationship_recall`` on a map whose cosines are counted already, for pairs that may be located already."""
    low, high = tails
    if not 0 <= low < high <= 1:
        raise InputError(f"tails {tails} are no fractions in order; give for example (0.05, 0.95)")
    if ties not in ("expected", "strict"):
        raise unknown("tie rule", ties, ("expected", "strict"))
    found = pairs if isinstance(pairs, LocatedPairs) else locate(cosines, pairs)
    total = cosines.n_pairs
    below = found.below
    # A cosine that another order of summation puts on the next level may find nobody there.
    upto = np.maximum(found.upto, below + 1)
    lower, upper = _places(low, high, total)
    if ties == "strict":
        hits = ((upto / total <= low) | (below / total >= high)).astype(np.float64)
        chance = _strict_chance(cosines.below, lower, upper)
    else:
        # The block of tied pairs fills ranks below + 1 ... upto; a share of them lies in a tail.
        in_lower = np.clip(lower - below, 0, upto - below)
        in_upper = np.clip(upto - (total - upper), 0, upto - below)
        hits = (in_lower + in_upper) / (upto - below)
        chance = (lower + upper) / total
    n = len(found.rows)
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
        cosines=found.cosines,
        hits=hits,
        pairs=found.rows,
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
    listed = values if isinstance(values, np.ndarray) else list(values)
    names = np.asarray(listed, dtype=np.str_).reshape(len(listed), 2)
    found = pc.index_in(pa.array(names.ravel()), value_set=pa.array(cosines.names))
    rows = found.fill_null(-1).to_numpy().astype(np.int64).reshape(-1, 2)
    rows = rows[(rows[:, 0] != rows[:, 1]) & (rows >= 0).all(axis=1)]
    n = len(cosines.names)
    keys = np.sort(rows.min(axis=1) * n + rows.max(axis=1))
    return np.stack(np.divmod(keys[np.diff(keys, prepend=-1) > 0], n), axis=1)


def _places(low: float, high: float, total: int) -> tuple[int, int]:
    """Places in the lower and the upper tail: ranks r with r / total <= low, and with (r - 1) / total >= high."""
    lower = int(low * total)
    lower += (lower + 1) / total <= low
    lower -= lower / total > low
    first = int(high * total)
    first += first / total < high
    return lower, total - first


def _strict_chance(below: np.ndarray, lower: int, upper: int) -> float:
    """Share of the map's pairs whose block of ties lies wholly in one of the tails of so many places."""
    total = below[-1]
    in_lower = below[np.searchsorted(below, lower, "right") - 1]
    in_upper = total - below[np.searchsorted(below, total - upper, "left")]
    return float((in_lower + in_upper) / total)
