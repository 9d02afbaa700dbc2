"""Profiles in parquet: features a column each, or all in one column of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from phenobench.errors import InputError
from phenobench.profiles.feature_columns import ColumnRules, listed, require_unique, split_columns, unnamed_index
from phenobench.profiles.formats.table import FeatureMatrix, Record, Table, text_fault
from phenobench.profiles.roles import PROVENANCE_KEY

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Columns decoded at a time: enough for all threads, few enough to be copied while still in cache.
_COLUMNS_AT_ONCE = 64


def read_parquet(path: Path, rules: ColumnRules) -> Table:
    """Read a parquet file.

    Raises:
        InputError: a feature column without numbers, or a record that is not phenobench's.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        record = _record(schema.metadata, path)
        require_unique(schema.names, path)
        index = (schema.pandas_metadata or {}).get("index_columns", ())
        metadata, names = split_columns(schema.names, rules, record.metadata, record.features)
        # What pandas itself declares to be an index changes with the order of rows, and is no column of the owner's.
        left_behind = unnamed_index(set(schema.names).difference(metadata, names, map(str, index)))
        # A named index says what a row is of, and is no feature.
        indices = [name for name in names if name in index and name not in rules.keep]
        metadata += indices
        if indices:
            left_behind += (
                f"{listed(indices)} is the index of the data frame that was written, and counts as metadata",
            )
        names = [name for name in names if name not in metadata]
        lists = [name for name in names if _is_list(schema.field(name).type)]
        numbers = [name for name in names if _is_number(schema.field(name).type)]
        strange = [name for name in names if name not in numbers and name not in lists]
        if len(lists) == 1 and not numbers:
            return _of_lists(file, lists[0], [*metadata, *strange], record, path)
        if strange or lists:
            raise InputError(_fault(schema, [*strange, *lists], numbers, path))
        matrix = FeatureMatrix(file.metadata.num_rows, names)
        # Columns of the file become contiguous columns of the matrix: one copy, no transposition. A thread
        # copies what is decoded while the next columns are being decoded.
        with ThreadPoolExecutor(1) as copying:
            copies = []
            for start in range(0, len(names), _COLUMNS_AT_ONCE):
                some = names[start : start + _COLUMNS_AT_ONCE]
                # Asked for "f", pyarrow reads "f.1" too, as if it were nested in it.
                part = file.read(columns=some).select(some)
                copies.append(copying.submit(_fill, matrix, start, part))
            table = _read_metadata(path, schema, metadata)
            for copy in copies:
                copy.result()
    return Table(
        _plain(table),
        matrix.values,
        matrix.names,
        record,
        notes=left_behind,
        exact=matrix.exact,
        coarse=tuple(matrix.coarse),
    )


def _fault(schema: pa.Schema, strange: Sequence[str], numbers: Sequence[str], path: Path) -> str:
    texts = [name for name in strange if not _is_list(schema.field(name).type)]
    lists = [name for name in strange if name not in texts]
    if lists and not texts:
        others = f"{len(lists)} columns hold lists" if len(lists) > 1 else f"the column '{lists[0]}' holds lists"
        return (
            f"{path}: {others} ({listed(lists)}) and a list column is the embedding only where it is the only feature "
            "column; say which are features with --feature-prefix"
        )
    return text_fault(path, strange, numbers)


def _of_lists(file: pq.ParquetFile, name: str, metadata: list[str], record: Record, path: Path) -> Table:
    """A file whose embedding is one column of lists, each as long as the others."""
    import pyarrow.compute as pc

    table = file.read(columns=[*metadata, name])
    column = table.column(name)
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if column.null_count or len(np.unique(lengths)) > 1:
        known = lengths[np.isfinite(lengths)]
        usual = float(np.median(known)) if len(known) else 0.0
        row = int(np.argmax(~(lengths == usual)))
        there = "no list" if not np.isfinite(lengths[row]) else f"a list of {int(lengths[row])} numbers"
        raise InputError(
            f"{path}: row {row + 1} has {there} in '{name}' where most have {int(usual)}; give each row a list of one "
            "length, or leave the row out of the file"
        )
    width = int(lengths[0]) if len(lengths) else 0
    values = pc.list_flatten(column).to_numpy().reshape(len(table), width)
    matrix = FeatureMatrix(len(table), [f"{name}_{i}" for i in range(width)])
    for i in range(width):
        matrix.fill(i, [values[:, i]])
    return Table(
        _plain(table.select(metadata)),
        matrix.values,
        matrix.names,
        record,
        notes=(f"the features are the {width} numbers of each list in '{name}'",),
        exact=matrix.exact,
        coarse=tuple(matrix.coarse),
    )


def _read_metadata(path: Path, schema: pa.Schema, names: list[str]) -> pa.Table:
    """The metadata columns; text as the file has it mostly, which is codes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [name for name in names if pa.types.is_string(schema.field(name).type) and "." not in name]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        return file.read(columns=names).select(names)


def _plain(table: pa.Table) -> pa.Table:
    """Without what pandas and others record beside the columns."""
    return table.replace_schema_metadata(None)


def _record(schema_metadata: Mapping[bytes, bytes] | None, path: Path) -> Record:
    try:
        return Record.model_validate_json((schema_metadata or {}).get(PROVENANCE_KEY, b"{}"))
    except ValidationError as error:
        raise InputError(
            f"{path}: what the file records under the key 'phenobench' is not what phenobench writes; remove that key"
        ) from error


def _fill(matrix: FeatureMatrix, first: int, table: pa.Table) -> None:
    for j in range(table.num_columns):
        chunks = table.column(j).chunks
        matrix.fill(first + j, [chunk.to_numpy(zero_copy_only=False) for chunk in chunks])


def _is_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(test(kind) for test in tests) and _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(test(kind) for test in tests)
