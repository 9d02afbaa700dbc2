"""What a score was averaged over, by perturbation, gene or complex: where the dots of a figure lie."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import sparse

from phenobench.item_values import PAIR, PERTURBATION, Items, Part, read_items
from phenobench.results import Result, ScoreInfo

# Column, name and range of what is shown of a metric; the first of a matching name.
_METRICS: tuple[tuple[str, str, str, tuple[float, float]], ...] = (
    ("mAP", "average_precision", "average precision", (0.0, 1.0)),
    ("consistent share", "consistency", "mean cosine of replicates", (-1.0, 1.0)),
    ("kNN share", "same_{subset}", "share of neighbours of the same {subset}", (0.0, 1.0)),
    (r"recall@\d+", "reciprocal_rank", "reciprocal rank of the first match", (0.0, 1.0)),
)
# Columns of items that figures show, whatever the scores are means of.
SHOWN = ("average_precision", "consistency", "same_plate", "same_batch", "reciprocal_rank", "cosine", "hit")
# A complex has at least three genes: two are a pair.
LEAST_GENES = 3


@dataclass(frozen=True)
class About:
    """What a strip shows.

    Attributes:
        subset: of the score.
        of: what a row is: "perturbation", "gene", "complex".
        value: what a row is ranked by.
        dots: what its dots are.
        axis: from where to where the dots can lie.
    """

    subset: str
    of: str
    value: str
    dots: str
    axis: tuple[float, float]


@dataclass(frozen=True)
class Row:
    """A row of a strip: its name, its value, and its dots (k,), ascending."""

    name: str
    value: float
    dots: np.ndarray


@dataclass(frozen=True)
class Strip:
    """All rows of one kind behind one score.

    Attributes:
        about: what is shown.
        names: of the rows, n.
        values: what they are ranked by (n,).
        dots: of all items (m,).
        members: which items are a row's, (n, m).
        order: the rows that have items, best first (at most n,).
        others: of genes, how many pairs of the whole map lie in equal bins of the axis; None where that is not known.
    """

    about: About
    names: Sequence[str]
    values: np.ndarray
    dots: np.ndarray
    members: sparse.csr_array
    order: np.ndarray
    others: np.ndarray | None = None

    def ends(self, most: int) -> tuple[list[Row], list[Row]]:
        """At most so many of the best and of the worst rows, the best first; no row is in both."""
        n = len(self.order)
        first = min(most, -(-n // 2))
        worst = self.order[n - min(most, n - first) :]
        return [self._row(i) for i in self.order[:first]], [self._row(i) for i in worst]

    def _row(self, i: int) -> Row:
        own = self.members.indices[self.members.indptr[i] : self.members.indptr[i + 1]]
        return Row(self.names[i], float(self.values[i]), np.sort(self.dots[own]))


def read_strips(path: Path, result: Result) -> list[Strip]:
    """The strips of a result, for its first score of each subset; none where it has no items.

    Raises:
        InputError: there are items that cannot be read.
    """
    items = read_items(path, result, SHOWN)
    return [] if items is None else strips_of(items, result)


def strips_of(items: Items, result: Result) -> list[Strip]:
    """As ``read_strips``, of items that have been read with the columns that figures show."""
    first: dict[str, ScoreInfo] = {}
    for score in result.scores:
        first.setdefault(score.subset, score)
    return [strip for score in first.values() for strip in _of_score(items, score)]


def _of_score(items: Items, score: ScoreInfo) -> list[Strip]:
    if items.unit == PAIR:
        part = items.part(score.subset, PAIR)
        return [] if part is None else _of_pairs(score.subset, items, part)
    part = items.part(score.subset, PERTURBATION)
    return [] if part is None else _of_perturbations(score, items, part)


def _of_perturbations(score: ScoreInfo, items: Items, part: Part) -> list[Strip]:
    shown = next((one for one in _METRICS if re.fullmatch(one[0], score.metric)), None)
    if shown is None:
        return []
    column, said = (text.format(subset=score.subset) for text in shown[1:3])
    if column not in items.columns:
        return []
    values = items.columns[column][part.rows]
    scored = ~np.isnan(values)
    members = _of_part(part) if scored.all() else _by_name(part.codes[scored], len(part.names))
    about = About(score.subset, "perturbation", f"mean {said}" if "mean" not in said else said, said, shown[3])
    names = [name for (name,) in part.names]
    return _strip(about, names, members, values[scored], values[scored], score.higher_is_better)


def _of_pairs(subset: str, items: Items, part: Part) -> list[Strip]:
    """Genes by the share of their annotated pairs in a tail, then complexes; the dots are the pairs' cosines."""
    if not {"cosine", "hit"} <= items.columns.keys():
        return []
    cosines, hits = (items.columns[name][part.rows] for name in ("cosine", "hit"))
    names, genes, labels, complexes = _groups_of_pairs(part)
    axis = (-1.0, 1.0)
    of_genes = About(subset, "gene", "recall", "cosines of its pairs", axis)
    of_complexes = About(subset, "complex", "recall", "cosines within it", axis)
    return [
        *_strip(of_genes, names, genes, hits, cosines, True, items.cosines),
        *_strip(of_complexes, labels, complexes, hits, cosines, True),
    ]


# Models of one screen share what follows from their items' names alone.
@lru_cache(maxsize=256)
def _of_part(part: Part) -> sparse.csr_array:
    return _by_name(part.codes, len(part.names))


def _by_name(codes: np.ndarray, n: int) -> sparse.csr_array:
    return _membership(codes, np.arange(len(codes)), n, len(codes))


@lru_cache(maxsize=64)
def _groups_of_pairs(part: Part) -> tuple[list[str], sparse.csr_array, list[str], sparse.csr_array]:
    """Which pairs are a gene's, and which a complex's.

    A complex is a gene with its annotated partners, once where genes have the same: the members of a
    complex whose pairs are all annotated have the same group, so no table of complexes is needed.

    Returns:
        Names of n genes, genes by m pairs (n, m), names of k complexes, and complexes by pairs (k, m).
    """
    names = sorted({gene for pair in part.names for gene in pair})
    number = {gene: place for place, gene in enumerate(names)}
    one, other = np.array([[number[gene] for gene in pair] for pair in part.names])[part.codes].T
    n, m = len(names), len(one)
    genes = _membership(np.r_[one, other], np.tile(np.arange(m), 2), n, m)
    itself = np.arange(n)
    near = _membership(np.r_[one, other, itself], np.r_[other, one, itself], n, n)
    near.sum_duplicates()
    sets = [tuple(group.tolist()) for group in np.split(near.indices, near.indptr[1:-1])]
    first = {own: row for row, own in reversed(list(enumerate(sets))) if len(own) >= LEAST_GENES}
    rows = sorted(first.values())
    inside = near[rows][:, one].multiply(near[rows][:, other]).tocsr()
    inside.data[:] = 1.0
    labels = [complex_name(names[row], [names[i] for i in sets[row] if i != row]) for row in rows]
    return names, genes, labels, inside


def complex_name(gene: str, partners: Collection[str]) -> str:
    """A gene and the first of its partners, with the number of the others."""
    shown = ", ".join([gene, *sorted(partners)[: LEAST_GENES - 1]])
    more = len(partners) + 1 - LEAST_GENES
    return f"{shown} + {more}" if more else shown


def _strip(
    about: About,
    names: Sequence[str],
    members: sparse.csr_array,
    values: np.ndarray,
    dots: np.ndarray,
    higher: bool,
    others: np.ndarray | None = None,
) -> list[Strip]:
    """A strip of the rows that have items, best first; rows of one value by their dots, then by name."""
    size = np.diff(members.indptr)
    if not size.any():
        return []
    mean, place = (members @ np.column_stack([values, dots]) / np.maximum(size, 1)[:, None]).T
    sign = -1.0 if higher else 1.0
    # Rounded, since sums in another order differ in their last bits; stable, and names are sorted.
    order = np.lexsort((np.round(sign * place, 9), np.round(sign * mean, 9), size == 0))
    return [Strip(about, names, mean, dots, members, order[: np.count_nonzero(size)], others)]


def _membership(rows: np.ndarray, items: np.ndarray, n: int, m: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(rows)), (rows, items)), shape=(n, m))
