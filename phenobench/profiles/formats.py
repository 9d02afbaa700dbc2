"""One file of profiles, of whichever format, as raw metadata and a feature matrix."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from phenobench.errors import InputError
from phenobench.profiles.roles import PROVENANCE_KEY

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".h5ad")
# Columns that a data frame's index leaves behind in a file.
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
# Parquet columns decoded at a time: enough for all threads, few enough to be copied while still in cache.
_COLUMNS_AT_ONCE = 32
# A CSV column's type is decided by the first block: sparse columns need to see more than the default 1 MiB.
_CSV_BLOCK, _CSV_LARGEST_BLOCK = 64 << 20, 2**31 - 1


class Record(BaseModel):
    """What phenobench writes beside profiles: the fields of ``Profiles`` that are neither wells nor features."""

    model_config = ConfigDict(frozen=True)

    steps: tuple[Mapping[str, Any], ...] = ()
    dropped: Mapping[str, NonNegativeInt] = {}
    notes: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Table:
    """A file as it is.

    Attributes:
        metadata: columns under the file's own names, each once.
        features: float32 (n, d); what is too large for float32 is infinite, what is absent NaN.
        feature_names: d names, each once.
        record: what phenobench wrote beside its profiles, empty for other files.
    """

    metadata: pd.DataFrame
    features: np.ndarray
    feature_names: tuple[str, ...]
    record: Record = field(default_factory=Record)


def is_profiles(path: Path) -> bool:
    """Whether a file's name is that of a format read here; hidden files are none."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def read_table(path: Path, prefixes: tuple[str, ...], metadata_columns: frozenset[str]) -> Table:
    """Read one file; a column is metadata if its name has a prefix or is in ``metadata_columns``.

    Raises:
        InputError: unreadable, truncated or empty file, no row, no feature, a column name that occurs twice, or
            text in a feature column.
    """
    name = path.name.lower()
    try:
        if not path.is_file():
            raise InputError(f"{path} is no file; check the path")
        if not path.stat().st_size:
            raise InputError(f"{path} is empty (0 bytes); it may not have been written to the end")
        if name.endswith(".parquet"):
            table = _read_parquet(path, prefixes, metadata_columns)
        elif name.endswith((".csv", ".csv.gz")):
            table = _read_csv(path, prefixes, metadata_columns)
        elif name.endswith(".h5ad"):
            table = _read_h5ad(path)
        else:
            raise InputError(f"{path} is of no format that is read here; use one of {', '.join(SUFFIXES)}")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError) as error:
        # pyarrow's and h5py's errors are ValueErrors and OSErrors of several lines.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise InputError(f"{path} cannot be read ({_spelled(reason)}); {_suspicion(path)}") from error
    if not table.feature_names:
        found = _spelled(", ".join(map(str, table.metadata.columns)))
        commas = "; a CSV is separated by commas" if ".csv" in name else ""
        raise InputError(
            f"{path} has no feature column; features are the columns without the prefix '{prefixes[0]}' "
            f"(columns: {found or 'none'}{commas})"
        )
    if not len(table.metadata):
        raise InputError(f"{path} has no rows; give a file with one row a well")
    return table


def column_names(path: Path) -> list[str]:
    """The columns of a parquet or csv file; none where it is another file, or cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = path.name.lower()
    with suppress(OSError, ValueError, pa.ArrowInvalid):
        if name.endswith(".parquet"):
            return list(pq.read_schema(path).names)
        if name.endswith((".csv", ".csv.gz")):
            return list(pd.read_csv(path, nrows=0).columns)
    return []


def _spelled(text: str) -> str:
    """The start of a text that may be anything, for a message of one line."""
    return "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in text[:120])


def _suspicion(path: Path) -> str:
    """Why a file of that name may be unreadable."""
    name, compressed = path.name.lower(), False
    with suppress(OSError), path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    if compressed and not name.endswith(".gz"):
        return "it is compressed with gzip, so its name should end in .csv.gz"
    if name.endswith(".gz") and not compressed:
        return "it is not compressed with gzip, so its name should not end in .gz"
    return "it may be truncated or of another format"


def _split(
    names: list[str], prefixes: tuple[str, ...], metadata_columns: frozenset[str], path: Path
) -> tuple[list[str], list[str]]:
    _require_unique(names, path)
    metadata = [name for name in names if name.startswith(prefixes) or name in metadata_columns]
    chosen = set(metadata)
    return metadata, [name for name in names if name not in chosen and not _INDEX.fullmatch(name)]


def _require_unique(names: Iterable[str], path: Path) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{path}: the column '{_spelled(name)}' occurs twice; rename or remove one")
        seen.add(name)


def _read_parquet(path: Path, prefixes: tuple[str, ...], metadata_columns: frozenset[str]) -> Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        metadata, names = _split(schema.names, prefixes, metadata_columns, path)
        index = (schema.pandas_metadata or {}).get("index_columns", ())
        names = [name for name in names if name not in index]
        for name in names:
            _require_number(schema.field(name).type, name, path)
        # Columns of the file become contiguous columns of the matrix: one copy, no transposition. A thread
        # copies what is decoded while the next columns are being decoded.
        features = np.empty((file.metadata.num_rows, len(names)), dtype=np.float32, order="F")
        with ThreadPoolExecutor(1) as copying:
            copies = []
            for start in range(0, len(names), _COLUMNS_AT_ONCE):
                some = names[start : start + _COLUMNS_AT_ONCE]
                # Asked for "f", pyarrow reads "f.1" too, as if it were nested in it.
                part = file.read(columns=some).select(some)
                copies.append(copying.submit(_fill, features[:, start : start + len(some)], part))
            frame = _metadata_frame(file.read(columns=metadata).select(metadata), path)
            for copy in copies:
                copy.result()
    return Table(frame, features, tuple(names), _record(schema.metadata, path))


def _record(schema_metadata: Mapping[bytes, bytes] | None, path: Path) -> Record:
    try:
        return Record.model_validate_json((schema_metadata or {}).get(PROVENANCE_KEY, b"{}"))
    except ValidationError as error:
        raise InputError(
            f"{path}: what the file records under the key 'phenobench' is not what phenobench writes; remove that key"
        ) from error


def _read_csv(path: Path, prefixes: tuple[str, ...], metadata_columns: frozenset[str]) -> Table:
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(path, read_options=csv.ReadOptions(block_size=_CSV_BLOCK))
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
        # The rest of the file is not as its first block: let all of it decide.
        table = csv.read_csv(path, read_options=csv.ReadOptions(block_size=_CSV_LARGEST_BLOCK))
    metadata, names = _split(table.column_names, prefixes, metadata_columns, path)
    features = np.empty((table.num_rows, len(names)), dtype=np.float32, order="F")
    for j, name in enumerate(names):
        column = table.column(name)
        if pa.types.is_string(column.type):
            column = _numbers(column, name, path)
        _require_number(column.type, name, path)
        _fill(features[:, j : j + 1], pa.table([column], names=[name]))
    return Table(_metadata_frame(table.select(metadata), path), features, tuple(names))


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Numbers that pyarrow took for text, because of blanks around them or missing values of other spellings."""
    import pyarrow as pa

    values: list[float | None] = []
    for row, text in enumerate(column.to_pylist(), start=1):
        try:
            values.append(float(text) if text.strip() not in ("", "NA") else None)
        except ValueError:
            raise InputError(
                f"{path}: the feature column '{_spelled(name)}' holds text ('{_spelled(text)}' in row {row}); give it "
                "a role with --column, name its prefix with --metadata-prefix, or mend the value"
            ) from None
    return pa.chunked_array([pa.array(values, type=pa.float64())])


def _read_h5ad(path: Path) -> Table:
    import anndata

    # Names that occur twice are a warning there, and old files are read with one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.read_h5ad(path)
    matrix = np.asarray(data.X.toarray() if hasattr(data.X, "toarray") else data.X)
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{path}: X holds {matrix.dtype}, not numbers; store the features in X")
    names = tuple(map(str, data.var_names))
    _require_unique(names, path)
    with np.errstate(over="ignore"):
        return Table(data.obs.reset_index(drop=True), matrix.astype(np.float32), names)


def _metadata_frame(table: pa.Table, path: Path) -> pd.DataFrame:
    """Metadata with values that can be compared: bytes as text, lists and structs as their spelling."""
    import pyarrow as pa

    for i, field_ in enumerate(table.schema):
        kind = field_.type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            try:
                table = table.set_column(i, field_.name, table.column(i).cast(pa.string()))
            except pa.ArrowInvalid as error:
                raise InputError(f"{path}: the column '{field_.name}' is not UTF-8 text; save it as UTF-8") from error
        elif pa.types.is_nested(kind):
            spelled = [None if value is None else str(value) for value in table.column(i).to_pylist()]
            table = table.set_column(i, field_.name, pa.array(spelled, pa.string()))
    return table.to_pandas(ignore_metadata=True)


def _fill(target: np.ndarray, table: pa.Table) -> None:
    for j in range(table.num_columns):
        start = 0
        for chunk in table.column(j).chunks:
            with np.errstate(over="ignore"):
                target[start : start + len(chunk), j] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)


def _require_number(kind: pa.DataType, name: str, path: Path) -> None:
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    if not any(test(kind) for test in tests):
        raise InputError(
            f"{path}: the feature column '{_spelled(name)}' holds {kind}, not numbers; give it a role with --column "
            "or name its prefix with --metadata-prefix"
        )
