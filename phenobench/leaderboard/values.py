"""What scores are the means of, read from thousands of items files quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenobench.errors import InputError
from phenobench.results import Result, ScoreInfo, items_path

_PAIR = ("entity1", "entity2")
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


@dataclass(frozen=True)
class _Labels:
    """A column of names, compared by its bytes: those of thousands of files are quickly seen to be the same."""

    content: tuple[bytes, ...]
    array: pa.Array = field(compare=False)


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of one subset: where they are, the code of each row's name, and the names."""

    rows: np.ndarray
    codes: np.ndarray
    names: Names


def read_values(result_path: Path, result: Result) -> dict[tuple[str, str], Values]:
    """The values behind the primary scores of a result, by metric and subset.

    A score is left out where there are no items, or where they do not give the score: then nothing
    follows from them.

    Raises:
        InputError: the items are there and cannot be read.
    """
    path = items_path(result_path)
    if not path.is_file():
        return {}
    # Where a task averages over targets, those are the units.
    unit = ("label",) if result.task.protocol.get("average") == "targets" else ("perturbation",)
    wanted = set(map(_column, result.scores))
    try:
        with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
            there = set(file.schema_arrow.names)
            key = _PAIR if set(_PAIR) <= there else unit
            subsets = [name for name in _SUBSETS if name in there][:1]
            averaged = sorted(wanted & there)
            if not averaged or not set(key) <= there:
                return {}
            table = file.read([*key, *subsets, *averaged], use_threads=False)
        labels = tuple(_labels(table.column(name)) for name in key)
        parts = _parts(labels, _labels(table.column(subsets[0])) if subsets else None)
        columns = {name: table.column(name).to_numpy().astype(np.float64) for name in averaged}
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as items ({error}); score again with --overwrite") from error
    found = {}
    for score in result.scores:
        column = columns.get(_column(score))
        part = parts.get(_MODALITY.get(score.subset, score.subset) if subsets else None)
        values = None if column is None or part is None else _mean_by_name(part, column, score.value)
        if values is not None:
            found[score.metric, score.subset] = values
    return found


def _column(score: ScoreInfo) -> str:
    if score.metric.startswith("recall@"):
        return score.metric.replace("recall", "hit")
    return _COLUMN.get(score.metric, score.metric).format(score.subset)


def _labels(column: pa.ChunkedArray) -> _Labels:
    array = column.combine_chunks()
    return _Labels(tuple(b"" if part is None else part.to_pybytes() for part in array.buffers()), array)


@lru_cache(maxsize=256)
def _parts(key: tuple[_Labels, ...], subsets: _Labels | None) -> Mapping[str | None, _Part]:
    """The rows of each subset by name. All models of a column have the same rows, as a rule."""
    labels = [tuple(map(str, row)) for row in zip(*(column.array.to_pylist() for column in key), strict=True)]
    rows_of: dict[str | None, list[int]] = {}
    for row, subset in enumerate(subsets.array.to_pylist() if subsets else [None] * len(labels)):
        rows_of.setdefault(subset, []).append(row)
    parts = {}
    for subset, rows in rows_of.items():
        names = tuple(sorted({labels[row] for row in rows}))
        place = {name: code for code, name in enumerate(names)}
        parts[subset] = _Part(np.array(rows), np.array([place[labels[row]] for row in rows]), names)
    return parts


def _mean_by_name(part: _Part, column: np.ndarray, score: float) -> Values | None:
    """Mean over the rows of each name; rows without a value were not scored."""
    values = column[part.rows]
    scored = ~np.isnan(values)
    codes, values = part.codes[scored], values[scored]
    size = np.bincount(codes, minlength=len(part.names))
    known = size > 0
    if not known.any():
        return None
    means = np.bincount(codes, weights=values, minlength=len(part.names))[known] / size[known]
    # Recall by wells is a mean over wells; it is compared by perturbation all the same.
    if min(abs(means.mean() - score), abs(values.mean() - score)) > _ROUNDING:
        return None
    names = part.names if known.all() else tuple(name for name, kept in zip(part.names, known, strict=True) if kept)
    return Values(names, means)
