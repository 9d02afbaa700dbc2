"""One file of profiles, of whichever format, as raw metadata and a feature matrix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from phenobench.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".h5ad")
# Columns that a data frame's index leaves behind in a file.
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
# Parquet columns decoded at a time: large enough for all threads, small enough to stay in cache.
_COLUMNS_AT_ONCE = 64


@dataclass(frozen=True)
class Table:
    """A file as it is: metadata under the file's own names, float32 features (n, d), feature names."""

    metadata: pd.DataFrame
    features: np.ndarray
    feature_names: tuple[str, ...]


def read_table(path: Path, prefixes: tuple[str, ...], metadata_columns: frozenset[str]) -> Table:
    """Read one file; a column is metadata if its name has a prefix or is in ``metadata_columns``.

    Raises:
        InputError: unreadable, truncated or empty file, no feature, or text in a feature column.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path")
    try:
        if path.name.endswith(".parquet"):
            table = _read_parquet(path, prefixes, metadata_columns)
        elif path.name.endswith((".csv", ".csv.gz")):
            table = _read_csv(path, prefixes, metadata_columns)
        elif path.name.endswith(".h5ad"):
            table = _read_h5ad(path)
        else:
            raise InputError(f"{path} is of no format that is read here; use one of {', '.join(SUFFIXES)}")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError) as error:
        # pyarrow's and h5py's errors are ValueErrors and OSErrors of several lines.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}); it may be truncated or of another format") from error
    if not table.feature_names:
        raise InputError(f"{path} has no feature column; features are the columns without the prefix {prefixes[0]}")
    if not len(table.metadata):
        raise InputError(f"{path} has no rows; give a file with one row a well")
    return table


def _split(
    names: list[str], prefixes: tuple[str, ...], metadata_columns: frozenset[str]
) -> tuple[list[str], list[str]]:
    metadata = [name for name in names if name.startswith(prefixes) or name in metadata_columns]
    chosen = set(metadata)
    features = [name for name in names if name not in chosen and not _INDEX.fullmatch(name)]
    return metadata, features


def _read_parquet(path: Path, prefixes: tuple[str, ...], metadata_columns: frozenset[str]) -> Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        metadata, names = _split(schema.names, prefixes, metadata_columns)
        for name in names:
            _require_number(schema.field(name).type, name, path)
        # Columns of the file become contiguous columns of the matrix: one copy, no transposition.
        features = np.empty((file.metadata.num_rows, len(names)), dtype=np.float32, order="F")
        for start in range(0, len(names), _COLUMNS_AT_ONCE):
            part = file.read(columns=names[start : start + _COLUMNS_AT_ONCE])
            _fill(features[:, start : start + _COLUMNS_AT_ONCE], part)
        frame = file.read(columns=metadata).to_pandas(ignore_metadata=True)
    return Table(frame, features, tuple(names))


def _read_csv(path: Path, prefixes: tuple[str, ...], metadata_columns: frozenset[str]) -> Table:
    import pyarrow as pa
    from pyarrow import csv

    # The first block decides a column's type; sparse metadata columns need to see more than the default 1 MiB.
    table = csv.read_csv(path, read_options=csv.ReadOptions(block_size=64 << 20))
    repeated = [name for name in table.column_names if table.column_names.count(name) > 1]
    if repeated:
        raise InputError(f"{path}: the column '{repeated[0]}' occurs twice; rename one")
    metadata, names = _split(table.column_names, prefixes, metadata_columns)
    for name in names:
        kind = table.schema.field(name).type
        if pa.types.is_string(kind):
            row, value = _first_text(table.column(name))
            raise InputError(
                f"{path}: the feature column '{name}' holds text ('{value}' in row {row}); give it a role with "
                "--column, name its prefix with --metadata-prefix, or mend the value"
            )
        _require_number(kind, name, path)
    features = np.empty((table.num_rows, len(names)), dtype=np.float32, order="F")
    _fill(features, table.select(names))
    return Table(table.select(metadata).to_pandas(), features, tuple(names))


def _read_h5ad(path: Path) -> Table:
    import anndata
    from scipy import sparse

    data = anndata.read_h5ad(path)
    matrix = sparse.csr_array(data.X).toarray() if sparse.issparse(data.X) else np.asarray(data.X)
    if not np.issubdtype(matrix.dtype, np.number):
        raise InputError(f"{path}: X holds {matrix.dtype}, not numbers; store the features in X")
    return Table(data.obs.reset_index(drop=True), matrix.astype(np.float32), tuple(map(str, data.var_names)))


def _fill(target: np.ndarray, table: pa.Table) -> None:
    for j in range(table.num_columns):
        start = 0
        for chunk in table.column(j).chunks:
            with np.errstate(over="ignore"):
                target[start : start + len(chunk), j] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)


def _require_number(kind: pa.DataType, name: str, path: Path) -> None:
    import pyarrow as pa

    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not (numeric or pa.types.is_null(kind)):
        raise InputError(
            f"{path}: the feature column '{name}' holds {kind}, not numbers; give it a role with --column "
            "or name its prefix with --metadata-prefix"
        )


def _first_text(column: pa.ChunkedArray) -> tuple[int, str]:
    for row, value in enumerate(column.to_pylist(), start=1):
        try:
            float(value)
        except ValueError:
            return row, value
    return 1, column[0].as_py()
