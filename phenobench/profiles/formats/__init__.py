"""The formats that profiles are read from: a module each, and which one a file is of."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from phenobench.errors import InputError
from phenobench.profiles.feature_columns import ColumnRules, printable, require_unique
from phenobench.profiles.formats import separated
from phenobench.profiles.formats.table import Record, Table
from phenobench.profiles.labels import spell

__all__ = [
    "SUFFIXES",
    "ColumnRules",
    "Record",
    "Table",
    "column_names",
    "is_profiles",
    "read_label_table",
    "read_table",
]

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".h5ad")
# Files that hold features and are not read, with what to do.
_REMEDIES = {
    ".gct": "write it as a table with one row a well, for example with cmapPy's parse_gct(...).data_df.T joined to its "
    "col_metadata_df, as parquet or csv",
    ".gctx": "write it as a table with one row a well, as parquet or csv",
    ".npy": "an array says nothing of its wells; join it to a table of their metadata and write parquet or csv",
    ".npz": "arrays say nothing of their wells; join them to a table of their metadata and write parquet or csv",
    ".sqlite": "aggregate single cells to one row a well first, for example with pycytominer's SingleCells, and write "
    "parquet or csv",
    ".db": "aggregate single cells to one row a well first, and write parquet or csv",
    ".xlsx": "save the sheet as csv",
    ".xls": "save the sheet as csv",
    ".rds": "write the table from R, for example with arrow::write_parquet",
    ".rdata": "write the table from R, for example with arrow::write_parquet",
    ".feather": "write it as parquet, for example with pandas",
    ".arrow": "write it as parquet, for example with pyarrow",
    ".pkl": "a pickle can run code and is never opened; write the table as parquet or csv",
    ".pickle": "a pickle can run code and is never opened; write the table as parquet or csv",
    ".pt": "write the embeddings with the metadata of their wells as parquet or csv",
    ".h5": "write the table as parquet, csv or h5ad",
    ".hdf5": "write the table as parquet, csv or h5ad",
    ".zarr": "write the table as parquet, csv or h5ad",
    ".mat": "write the table as parquet or csv",
    ".json": "write the table as parquet or csv",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".csv.bz2": "unpack it, or compress it with gzip",
    ".csv.xz": "unpack it, or compress it with gzip",
    ".csv.zst": "unpack it, or compress it with gzip",
    ".csv.zip": "unpack it, or compress it with gzip",
}


def is_profiles(path: Path) -> bool:
    """Whether a file's name is that of a format read here; hidden files are none."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def read_table(path: Path, rules: ColumnRules, layer: str | None = None, obsm: str | None = None) -> Table:
    """Read one file of profiles.

    Args:
        path: of a file.
        rules: which columns are metadata and which features.
        layer: of an h5ad file, in place of X.
        obsm: the same.

    Raises:
        InputError: unreadable, truncated or empty file, no row, no feature, a column name that occurs twice, or
            text in a feature column.
    """
    name = path.name.lower()
    with _as_input_errors(path):
        if name.endswith(".h5ad"):
            from phenobench.profiles.formats.h5ad import read_h5ad

            table = read_h5ad(path, rules, layer, obsm)
        elif layer is not None or obsm is not None:
            raise InputError(f"{path} is no h5ad file, so it has no --layer and no --obsm; leave them out")
        elif name.endswith(".parquet"):
            from phenobench.profiles.formats.parquet import read_parquet

            table = read_parquet(path, rules)
        elif name.endswith(separated.SUFFIXES):
            table = separated.read_separated(path, rules)
        else:
            raise InputError(f"{path} is of no format that is read here; {_remedy(name)}")
    if not table.feature_names:
        found = printable(", ".join(table.metadata.column_names))
        raise InputError(
            f"{path} has no feature column; features are {_features_are(rules)} (columns: {found or 'none'}); say what "
            "they start with, --feature-prefix, or keep one with --keep-feature"
        )
    if not len(table.features):
        raise InputError(f"{path} has no rows; give a file with one row a well")
    return table


def read_label_table(path: Path, content: bytes | None = None, spellings: Iterable[str] = ()) -> pd.DataFrame:
    """A table of labels: all columns as text by the rule of ``labels.spell``, None where there is none.

    Args:
        path: a parquet or separated text file, gzipped or not, by its name.
        content: in place of the file's.
        spellings: by which numbers are spelled elsewhere.

    Raises:
        InputError: it is no such table.
    """
    import pyarrow.parquet as pq

    with _as_input_errors(path, content):
        if path.name.lower().endswith(".parquet"):
            table = pq.read_table(path if content is None else io.BytesIO(content), partitioning=None)
            require_unique(table.column_names, path)
        else:
            table = separated.read_text(path, content)
        require_unique([name.strip() for name in table.column_names], path)
        labels = {name.strip(): spell([table.column(name)], spellings) for name in table.column_names}
        return pd.DataFrame(labels, index=range(table.num_rows), dtype=object)


def column_names(path: Path) -> list[str]:
    """The columns of a parquet file or of separated text; none where it is another file.

    Raises:
        InputError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with _as_input_errors(path):
        if path.name.lower().endswith(".parquet"):
            return list(pq.read_schema(path).names)
        if path.name.lower().endswith(separated.SUFFIXES):
            return list(separated.dialect_of(path).names)
    return []


@contextmanager
def _as_input_errors(path: Path, content: bytes | None = None) -> Iterator[None]:
    """What readers raise for files that are damaged or of another format, as a sentence."""
    import pyarrow as pa

    if content is None:
        if not path.is_file():
            raise InputError(f"{path} is no file; check the path")
        if not path.stat().st_size:
            raise InputError(f"{path} is empty (0 bytes); it may not have been written to the end")
    try:
        yield
    except InputError:
        raise
    # pyarrow's and h5py's errors are of several lines; anndata's are of several kinds.
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zlib.error, pa.ArrowException) as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise InputError(f"{path} cannot be read ({printable(reason)}); {_suspicion(path)}") from error


def _features_are(rules: ColumnRules) -> str:
    if rules.feature_prefixes:
        return f"columns that start with {' or '.join(rules.feature_prefixes)}, and none does"
    return f"numbers under names without the prefix '{rules.prefixes[0]}'"


def _remedy(name: str) -> str:
    """What to do with a file of another format."""
    known = [suffix for suffix in _REMEDIES if name.endswith(suffix)]
    return _REMEDIES[max(known, key=len)] if known else f"use one of {', '.join(SUFFIXES)}"


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
