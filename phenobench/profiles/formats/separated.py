"""Profiles and other tables in separated text: commas, tabs or semicolons, a decimal point or comma, gzipped or not."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenobench.errors import InputError
from phenobench.profiles.feature_columns import ColumnRules, printable, require_unique, split_columns, unnamed_index
from phenobench.profiles.formats.table import FeatureMatrix, Table, text_fault

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
# What is read of a file to see how it is written.
_HEAD = 1 << 20
_BLOCK = 16 << 20
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*")
# Spellings of a missing number.
_NO_NUMBER = ("", "NA", "NaN", "nan", "N/A", "n/a", "#N/A", "NULL", "null", "None", "<NA>")


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        encoding: of its bytes.
        separator: of its columns.
        decimal_comma: numbers have a comma where others have a point.
        names: of its columns.
        notes: what of that its name does not say.
    """

    encoding: str
    separator: str
    decimal_comma: bool
    names: tuple[str, ...]
    notes: tuple[str, ...]


def dialect_of(path: Path, content: bytes | None = None) -> Dialect:
    """How a file is written, by its first megabyte.

    Raises:
        InputError: it cannot be decoded, or has no header.
    """
    head, notes = _head(path, content), []
    encoding = "utf-8"
    for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if head.startswith(mark):
            encoding = name
    if encoding == "utf-16":
        notes.append("the file is read as UTF-16")
        head = head[: len(head) // 2 * 2]
    text = head.decode(encoding, errors="replace")
    usual = "\t" if re.search(r"\.(tsv|txt)(\.gz)?$", path.name.lower()) else ","
    lines = text.splitlines()[:200]
    if not lines or not lines[0].strip():
        raise InputError(f"{path} has no header in its first line; give the names of the columns there")
    counts = {mark: len(_cells(lines[0], mark)) for mark in _SEPARATORS}
    separator = max(counts, key=lambda mark: (counts[mark], mark == usual))
    if counts[usual] == counts[separator]:
        separator = usual
    # The last line may be cut.
    rows = [_cells(line, separator) for line in lines[1 : max(2, len(lines) - 1)]]
    decimal_comma = separator != "," and any(_DECIMAL_COMMA.fullmatch(cell) for row in rows for cell in row)
    if separator != usual or decimal_comma:
        decimal = " and a decimal comma" if decimal_comma else ""
        notes.append(f"the columns are read as separated by {_SEPARATORS[separator]}{decimal}")
    return Dialect(encoding, separator, decimal_comma, tuple(_cells(lines[0], separator)), tuple(notes))


def read_separated(path: Path, rules: ColumnRules) -> Table:
    """Read profiles from separated text.

    Raises:
        InputError: text where numbers are wanted, a name that occurs twice, or bytes that are no text.
    """
    import pyarrow as pa

    dialect = dialect_of(path)
    require_unique(dialect.names, path)
    metadata, names = split_columns(dialect.names, rules)
    texts, numbers = dict.fromkeys(metadata, pa.string()), dict.fromkeys(names, pa.float64())
    try:
        table = _read(path, dialect, {**texts, **numbers})
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
        table = _spelled_otherwise(path, dialect, metadata, names)
    matrix = FeatureMatrix(table.num_rows, names)
    for j, name in enumerate(names):
        matrix.fill(j, [chunk.to_numpy(zero_copy_only=False) for chunk in table.column(name).chunks])
    return Table(
        table.select(metadata),
        matrix.values,
        matrix.names,
        notes=(*dialect.notes, *unnamed_index(set(dialect.names).difference(metadata, names))),
        exact=matrix.exact,
        coarse=tuple(matrix.coarse),
    )


def read_text(path: Path, content: bytes | None = None) -> tuple[pa.Table, Dialect]:
    """A table all of whose columns are text as it is written, and how the file is written.

    Raises:
        InputError: it cannot be decoded, or is no such table.
    """
    import pyarrow as pa

    dialect = dialect_of(path, content)
    require_unique(dialect.names, path)
    return _read(path, dialect, dict.fromkeys(dialect.names, pa.string()), content), dialect


def _read(path: Path, dialect: Dialect, types: dict[str, pa.DataType], content: bytes | None = None) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as arrow

    convert = arrow.ConvertOptions(
        check_utf8=True,
        column_types=types,
        null_values=[*_NO_NUMBER],
        # Text is taken as it stands: what is missing is decided by one rule for all formats.
        strings_can_be_null=False,
        decimal_point="," if dialect.decimal_comma else ".",
    )
    if content is not None and content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)

    def parse(*, breaks: bool) -> pa.Table:
        source: Any = str(path) if content is None else io.BytesIO(content)
        return arrow.read_csv(
            source,
            read_options=arrow.ReadOptions(block_size=_BLOCK, encoding=dialect.encoding.removesuffix("-sig")),
            parse_options=arrow.ParseOptions(delimiter=dialect.separator, newlines_in_values=breaks),
            convert_options=convert,
        )

    try:
        try:
            return parse(breaks=False)
        except pa.ArrowInvalid as error:
            if "Expected" not in str(error):
                raise
            # A quoted value may have line breaks, which takes a parser without threads.
            return parse(breaks=True)
    except pa.ArrowInvalid as error:
        found = re.search(r"In CSV column #(\d+): .*(invalid UTF8|Invalid UTF8)", str(error))
        if found:
            name = dialect.names[int(found[1])]
            raise InputError(f"{path}: the column '{printable(name)}' is not UTF-8 text; save it as UTF-8") from error
        raise


def _spelled_otherwise(path: Path, dialect: Dialect, metadata: Sequence[str], names: Sequence[str]) -> pa.Table:
    """The same file where some numbers are not spelled as numbers mostly are; which are none at all is said at once.

    Raises:
        InputError: a feature column holds text.
    """
    import pyarrow as pa

    table = _read(path, dialect, dict.fromkeys([*metadata, *names], pa.string()))
    texts, faults = [], []
    for name in names:
        column = table.column(name)
        values, wrong = _numbers(column.to_pylist(), dialect.decimal_comma)
        if len(wrong) > int(np.isfinite(values).sum()):
            texts.append(name)
        elif wrong:
            row, text = wrong[0]
            faults.append(
                f"{path}: the feature column '{printable(name)}' holds text ('{printable(text)}' in row {row}); give "
                "it a role with --column, name its prefix with --metadata-prefix, or mend the value"
            )
        else:
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
    if len(texts) == 1:
        row, text = _numbers(table.column(texts[0]).to_pylist(), dialect.decimal_comma)[1][0]
        faults.append(
            f"{path}: the feature column '{printable(texts[0])}' holds text ('{printable(text)}' in row {row}); give "
            "it a role with --column or name its prefix with --metadata-prefix"
        )
    elif texts:
        faults.append(text_fault(path, texts, [name for name in names if name not in texts]))
    if faults:
        raise InputError(*faults)
    return table


def _numbers(texts: Sequence[str], decimal_comma: bool) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Numbers of texts, NaN where one is missing, and the texts that are none, with their rows (from 1)."""
    values, wrong = np.full(len(texts), np.nan), []
    booleans = {"true": 1.0, "false": 0.0}
    for row, text in enumerate(texts):
        bare = text.strip()
        if bare in _NO_NUMBER:
            continue
        try:
            values[row] = (
                booleans.get(bare.lower())
                if bare.lower() in booleans
                else float(bare.replace(",", ".") if decimal_comma else bare)
            )
        except ValueError:
            wrong.append((row + 1, text))
    return values, wrong


def _head(path: Path, content: bytes | None) -> bytes:
    if content is not None:
        return gzip.decompress(content)[:_HEAD] if content.startswith(b"\x1f\x8b") else content[:_HEAD]
    with path.open("rb") as file:
        if not path.name.lower().endswith(".gz"):
            return file.read(_HEAD)
        try:
            with gzip.open(file) as unpacked:
                return unpacked.read(_HEAD)
        except zlib.error as error:
            raise OSError(str(error)) from error


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])
