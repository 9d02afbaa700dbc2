"""The items of a result, read once: which of them make a score, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenobench.errors import InputError
from phenobench.results import Result, ScoreInfo, items_path

# What an item is of: one perturbation or target, or two genes.
Key = tuple[str, ...]
PERTURBATION: Key = ("perturbation",)
TARGET: Key = ("label",)
PAIR: Key = ("entity1", "entity2")
# Columns by which items fall into several scores, and what scores call the values of the last.
_SUBSETS = ("source", "direction", "dose", "modality")
_MODALITY = {"compound to gene": "compounds", "gene to compound": "genes"}
# The column that a metric averages; {} is the score's subset.
_COLUMN = {"mAP": "average_precision", "recall": "hit", "consistent share": "significant", "kNN share": "same_{}"}
# Sums in another order differ in their last bits.
_ROUNDING = 1e-6

# Perturbations, targets, or pairs of genes: each one name or two.
Names = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Values:
    """What a score is the mean of.

    Attributes:
        names: sorted.
        values: one a name, float64.
    """

    names: Names
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Part:
    """The items of one subset. Results with the same rows share it, so what follows from it can be remembered.

    Attributes:
        rows: where they are among all items (m,).
        codes: whose each is, its place among the names (m,).
        names: sorted.
    """

    rows: np.ndarray
    codes: np.ndarray
    names: Names


@dataclass(frozen=True, eq=False)
class Items:
    """What was read of a result's items.

    Attributes:
        unit: what its scores average over.
        columns: numbers, float64, one an item; NaN where an item was not scored.
        cosines: how many pairs of the whole map lie in equal bins from -1 to 1, where a task of pairs wrote it.
    """

    unit: Key
    columns: Mapping[str, np.ndarray]
    cosines: np.ndarray | None
    _parts: Mapping[Key, Mapping[str | None, Part]]
    _by: str | None

    def part(self, subset: str, key: Key) -> Part | None:
        """The items of a score's subset by what they are of; None where there are none."""
        wanted = _MODALITY.get(subset, subset) if self._by == "modality" else subset
        return self._parts.get(key, {}).get(wanted if self._by else None)

    def values(self, score: ScoreInfo) -> Values | None:
        """What a score is the mean of; None where the items do not give the score, so that nothing follows."""
        part, column = self.part(score.subset, self.unit), self.columns.get(_column(score))
        return None if part is None or column is None else _mean_by_name(part, column, score.value)


def read_values(result_path: Path, result: Result) -> dict[tuple[str, str], Values]:
    """The values behind the primary scores of a result, by metric and subset, where its items give them.

    Raises:
        InputError: the items are there and cannot be read.
    """
    items = read_items(result_path, result)
    return {} if items is None else values_of(items, result)


def values_of(items: Items, result: Result) -> dict[tuple[str, str], Values]:
    """As ``read_values``, of items that have been read."""
    found = {(score.metric, score.subset): items.values(score) for score in result.scores}
    return {score: values for score, values in found.items() if values is not None}


def read_items(result_path: Path, result: Result, besides: Collection[str] = ()) -> Items | None:
    """The items of a result; None where it has none.

    Args:
        result_path: the file of the result, which the items lie beside.
        result: what is in it.
        besides: columns to read besides those that its scores are means of, where they are there.

    Raises:
        InputError: the items are there and cannot be read.
    """
    path = items_path(result_path)
    if not path.is_file():
        return None
    try:
        # From memory: a small file is read at once, without pyarrow's threads.
        with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
            there = set(file.schema_arrow.names)
            unit = PAIR if set(PAIR) <= there else _unit(result)
            keys = [key for key in {unit, PERTURBATION} if set(key) <= there]
            by = next((name for name in _SUBSETS if name in there), None)
            numbers = sorted({*map(_column, result.scores), *besides} & there)
            names = {*(name for key in keys for name in key), *([by] if by else [])}
            table = file.read([*sorted(names), *numbers], use_threads=False)
        labels = {name: _labels(table.column(name)) for name in names}
        return Items(
            unit,
            {name: table.column(name).to_numpy().astype(np.float64) for name in numbers},
            _cosines(table) if unit == PAIR else None,
            {key: _parts(tuple(labels[name] for name in key), labels[by] if by else None) for key in keys},
            by,
        )
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as items ({error}); score again with --overwrite") from error


def _unit(result: Result) -> Key:
    return TARGET if result.task.protocol.get("average") == "targets" else PERTURBATION


def _column(score: ScoreInfo) -> str:
    if score.metric.startswith("recall@"):
        return score.metric.replace("recall", "hit")
    return _COLUMN.get(score.metric, score.metric).format(score.subset)


def _cosines(items: pa.Table) -> np.ndarray | None:
    """The histogram of all cosines of the map, which pandas writes among a table's attributes."""
    attributes = json.loads((items.schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    counts = np.asarray(attributes.get("cosines", []), dtype=np.float64)
    return counts if counts.ndim == 1 and counts.sum() > 0 else None


@dataclass(frozen=True)
class _Labels:
    """A column of names, compared by its bytes: those of thousands of files are quickly seen to be the same."""

    content: tuple[bytes, ...]
    array: pa.Array = field(compare=False)

    def coded(self) -> tuple[list[str], np.ndarray]:
        """The names in order, a missing one as the empty one, and the place of each row's among them."""
        found = self.array.dictionary_encode()
        unsorted = [*map(str, found.dictionary.to_pylist()), ""]
        names = sorted(set(unsorted))
        place = {name: number for number, name in enumerate(names)}
        places = np.array([place[name] for name in unsorted])
        return names, places[found.indices.fill_null(len(unsorted) - 1).to_numpy()]


def _labels(column: pa.ChunkedArray) -> _Labels:
    array = column.combine_chunks()
    return _Labels(tuple(b"" if part is None else part.to_pybytes() for part in array.buffers()), array)


@lru_cache(maxsize=256)
def _parts(key: tuple[_Labels, ...], subsets: _Labels | None) -> Mapping[str | None, Part]:
    """The items of each subset. All models of a column have the same rows, as a rule."""
    sides = [labels.coded() for labels in key]
    # Places among the sorted names of each side in one number, in the order of tuples of names.
    joint = sides[0][1]
    for names, places in sides[1:]:
        joint = joint * len(names) + places
    rows_of: dict[str | None, np.ndarray] = {None: np.arange(len(joint))} if len(joint) else {}
    if subsets is not None:
        known, places = subsets.coded()
        rows_of = {known[place]: np.flatnonzero(places == place) for place in np.unique(places).tolist()}
    parts = {}
    for subset, rows in rows_of.items():
        own, codes = np.unique(joint[rows], return_inverse=True)
        columns: list[list[str]] = []
        for names, _ in reversed(sides):
            columns.insert(0, [names[place] for place in (own % len(names)).tolist()])
            own = own // len(names)
        parts[subset] = Part(rows, codes, tuple(zip(*columns, strict=True)))
    return parts


def _mean_by_name(part: Part, column: np.ndarray, score: float) -> Values | None:
    """Mean over the items of each name; those without a value were not scored."""
    values, codes = column[part.rows], part.codes
    scored = ~np.isnan(values)
    if not scored.all():
        values, codes = values[scored], codes[scored]
    size = np.bincount(codes, minlength=len(part.names))
    known = size > 0
    if not known.any():
        return None
    means = np.bincount(codes, weights=values, minlength=len(part.names))[known] / size[known]
    # Recall by wells is a mean over wells; it is compared by perturbation all the same.
    if abs(means.mean() - score) > _ROUNDING and abs(values.mean() - score) > _ROUNDING:
        return None
    names = part.names if known.all() else tuple(name for name, kept in zip(part.names, known, strict=True) if kept)
    return Values(names, means)
