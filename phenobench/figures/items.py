"""What a score was averaged over, by perturbation, gene or complex: where the dots of a figure lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from phenobench.errors import InputError
from phenobench.results import Result, items_path

if TYPE_CHECKING:
    import pyarrow as pa

_PAIR = ("entity1", "entity2")
# Columns that say which of a result's scores an item belongs to.
_SUBSETS = ("source", "direction", "dose", "modality")
_MODALITY = {"compound to gene": "compounds", "gene to compound": "genes"}
# Column, name and range of what is shown of a metric; the first of a matching name.
_SHOWN: tuple[tuple[str, str, str, tuple[float, float]], ...] = (
    ("mAP", "average_precision", "average precision", (0.0, 1.0)),
    ("consistent share", "consistency", "mean cosine of replicates", (-1.0, 1.0)),
    ("kNN share", "same_{subset}", "share of neighbours of the same {subset}", (0.0, 1.0)),
    (r"recall@\d+", "reciprocal_rank", "reciprocal rank of the first match", (0.0, 1.0)),
)
_SCORED = ("average_precision", "consistency", "same_plate", "same_batch", "reciprocal_rank", "cosine", "hit")
_READ = {*_PAIR, *_SUBSETS, *_SCORED, "perturbation"}
# A complex has at least three genes: two are a pair.
_LEAST_GENES = 3


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
    import pyarrow as pa
    from pyarrow import parquet

    items = items_path(path)
    if not items.is_file():
        return []
    try:
        # From memory: a small file is read at once, without pyarrow's threads.
        with parquet.ParquetFile(pa.BufferReader(items.read_bytes())) as file:
            table = file.read([name for name in file.schema_arrow.names if name in _READ], use_threads=False)
        others = _all_cosines(table)
        return [
            replace(strip, others=others) if strip.about.of == "gene" else strip
            for one in _of_result(result, table)
            for strip in one
        ]
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise InputError(f"{items} cannot be read as items ({error}); score again with --overwrite") from error


def _of_result(result: Result, items: pa.Table) -> Iterator[list[Strip]]:
    seen = set()
    for score in result.scores:
        if score.subset in seen:
            continue
        seen.add(score.subset)
        table = _rows(items, score.subset)
        if set(_PAIR) <= set(table.column_names):
            yield _of_pairs(score.subset, table)
        else:
            yield _of_perturbations(score.metric, score.subset, table, score.higher_is_better)


def _all_cosines(items: pa.Table) -> np.ndarray | None:
    """The histogram of all cosines of the map, which pandas writes among a table's attributes."""
    attributes = json.loads((items.schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    counts = np.asarray(attributes.get("cosines", []), dtype=np.float64)
    return counts if counts.ndim == 1 and counts.sum() > 0 else None


def _rows(items: pa.Table, subset: str) -> pa.Table:
    import pyarrow.compute as pc

    for name in _SUBSETS:
        if name in items.column_names:
            wanted = _MODALITY.get(subset, subset) if name == "modality" else subset
            return items.filter(pc.equal(items[name], wanted))
    return items


def _of_perturbations(metric: str, subset: str, items: pa.Table, higher: bool) -> list[Strip]:
    shown = next((one for one in _SHOWN if re.fullmatch(one[0], metric)), None)
    if shown is None:
        return []
    column, said = (text.format(subset=subset) for text in shown[1:3])
    if not {"perturbation", column} <= set(items.column_names):
        return []
    values = _numbers(items, column)
    codes, names = _codes(items, "perturbation")
    scored = np.flatnonzero(~np.isnan(values))
    members = _membership(codes[scored], np.arange(len(scored)), len(names), len(scored))
    about = About(subset, "perturbation", f"mean {said}" if "mean" not in said else said, said, shown[3])
    return _strip(about, names, members, values[scored], values[scored], higher)


def _of_pairs(subset: str, pairs: pa.Table) -> list[Strip]:
    """Genes by the share of their annotated pairs in a tail, then complexes; the dots are the pairs' cosines."""
    if not {"cosine", "hit"} <= set(pairs.column_names) or not pairs.num_rows:
        return []
    cosines, hits = _numbers(pairs, "cosine"), _numbers(pairs, "hit")
    codes, names = _codes(pairs, *_PAIR)
    genes, complexes, labels = _groups_of_pairs(codes.tobytes(), tuple(names))
    axis = (-1.0, 1.0)
    return [
        *_strip(About(subset, "gene", "recall", "cosines of its pairs", axis), names, genes, hits, cosines, True),
        *_strip(About(subset, "complex", "recall", "cosines within it", axis), labels, complexes, hits, cosines, True),
    ]


@lru_cache(maxsize=64)
def _groups_of_pairs(codes: bytes, names: tuple[str, ...]) -> tuple[sparse.csr_array, sparse.csr_array, list[str]]:
    """Which pairs are a gene's, and which a complex's; models of one screen share the answer.

    A complex is a gene with its annotated partners, once where genes have the same: the members of a
    complex whose pairs are all annotated have the same group, so no table of complexes is needed.

    Args:
        codes: the genes of m pairs as int32, the first of each pair and then the second.
        names: of n genes.

    Returns:
        Genes by pairs (n, m), complexes by pairs (k, m), and names of the k complexes.
    """
    ends = np.frombuffer(codes, dtype=np.int32)
    one, other = ends.reshape(2, -1)
    n, m = len(names), len(one)
    genes = _membership(ends, np.tile(np.arange(m), 2), n, m)
    itself = np.arange(n)
    near = _membership(np.r_[one, other, itself], np.r_[other, one, itself], n, n)
    near.sum_duplicates()
    sets = [tuple(part.tolist()) for part in np.split(near.indices, near.indptr[1:-1])]
    first = {own: row for row, own in reversed(list(enumerate(sets))) if len(own) >= _LEAST_GENES}
    rows = sorted(first.values())
    inside = near[rows][:, one].multiply(near[rows][:, other]).tocsr()
    inside.data[:] = 1.0
    labels = [_complex_name(names[row], [names[i] for i in sets[row] if i != row]) for row in rows]
    return genes, inside, labels


def _complex_name(gene: str, partners: list[str]) -> str:
    shown = ", ".join([gene, *sorted(partners)[: _LEAST_GENES - 1]])
    more = len(partners) + 1 - _LEAST_GENES
    return f"{shown} + {more}" if more else shown


def _strip(
    about: About,
    names: Sequence[str],
    members: sparse.csr_array,
    values: np.ndarray,
    dots: np.ndarray,
    higher: bool,
) -> list[Strip]:
    """A strip of the rows that have items, best first; rows of one value by their dots, then by name."""
    size = np.diff(members.indptr)
    if not size.any():
        return []
    mean, place = (np.asarray(members @ one) / np.maximum(size, 1) for one in (values, dots))
    sign = -1.0 if higher else 1.0
    # Rounded, since sums in another order differ in their last bits; stable, and names are sorted.
    order = np.lexsort((np.round(sign * place, 9), np.round(sign * mean, 9), size == 0))
    return [Strip(about, names, mean, dots, members, order[: np.count_nonzero(size)])]


def _membership(rows: np.ndarray, items: np.ndarray, n: int, m: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(rows)), (rows, items)), shape=(n, m))


def _numbers(items: pa.Table, column: str) -> np.ndarray:
    return np.asarray(items[column].to_numpy(), dtype=np.float64)


def _codes(items: pa.Table, *columns: str) -> tuple[np.ndarray, list[str]]:
    """The names of some columns, one after the other, as places (int32) among the names, which are sorted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [chunk for name in columns for chunk in items[name].cast(pa.string()).chunks]
    coded = pa.chunked_array(chunks, pa.string()).fill_null("").combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    place = np.empty(len(order), dtype=np.int32)
    place[order.to_numpy()] = np.arange(len(order))
    return place[coded.indices.to_numpy()], coded.dictionary.take(order).to_pylist()
