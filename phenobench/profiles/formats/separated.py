"""Profiles and other tables in separated text: commas, tabs or semicolons, a decimal point or comma, gzipped or not."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenobench.errors import InputError
from phenobench.profiles.feature_columns import ColumnRules, printable, require_unique, split_columns, unnamed_index
from phenobench.profiles.formats.table import FeatureMatrix, Table, text_fault
from phenobench.profiles.labels import MISSING

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
# What is read of a file to see how it is written.
_HEAD = 1 << 20
_BLOCK = 16 << 20
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
# Rows by which it is judged how numbers are written.
_ROWS = 200
_DECIMAL_POINT = re.compile(r"\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*")
# What a number looks like: no underscores, no blanks within.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)


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


def dialect_of(path: Path, content: bytes | None = None, rules: ColumnRules | None = None) -> Dialect:
    """How a file is written, by its first megabyte.

    Args:
        path: of the file.
        content: in place of the file's.
        rules: which columns are features: by these it is judged whether numbers have decimal commas.

    Raises:
        InputError: it cannot be decoded, has no header, or has numbers of both kinds.
    """
    head, notes = _head(path, content), []
    if head.startswith(b"\x1f\x8b"):
        raise OSError("it begins as a file of gzip")
    encoding = "utf-8"
    for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if head.startswith(mark):
            encoding = name
    if encoding == "utf-16":
        notes.append("the file is read as UTF-16")
        head = head[: len(head) // 2 * 2]
    text = head.decode(encoding, errors="replace")
    usual = "\t" if re.search(r"\.(tsv|txt)(\.gz)?$", path.name.lower()) else ","
    counts = {mark: len(next(_rows(text, mark), [])) for mark in _SEPARATORS}
    separator = max(counts, key=lambda mark: (counts[mark], mark == usual))
    if counts[usual] == counts[separator]:
        separator = usual
    header, *rows = [*islice(_rows(text, separator), _ROWS)] or [[]]
    _require_header(path, text.partition("\n")[0].strip("\r"), header, rows)
    decimal_comma = separator != "," and rules is not None and _has_decimal_commas(path, header, rows, rules)
    if separator != usual or decimal_comma:
        decimal = " and a decimal comma" if decimal_comma else ""
        notes.append(f"the columns are read as separated by {_SEPARATORS[separator]}{decimal}")
    return Dialect(encoding, separator, decimal_comma, tuple(header), tuple(notes))


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _require_header(path: Path, first: str, header: list[str], rows: list[list[str]]) -> None:
    if not "".join(header).strip():
        raise InputError(f"{path} has no header in its first line; give the names of the columns there")
    if "\ufffd" in first:
        raise InputError(f"{path}: its header is not UTF-8 text ({printable(first)}); save it as UTF-8")
    if first.lower().startswith("sep=") or (first.startswith("#") and rows and len(rows[0]) > len(header)):
        raise InputError(f"{path}: its first line ('{printable(first)}') is no header; remove what stands before that")


def _has_decimal_commas(path: Path, header: list[str], rows: list[list[str]], rules: ColumnRules) -> bool:
    """Whether features are written with decimal commas.

    Raises:
        InputError: some are, and others have decimal points.
    """
    features = set(split_columns(header, rules)[1])
    cells = [(name, cell) for row in rows for name, cell in zip(header, row, strict=False) if name in features]
    with_comma = next((one for one in cells if _DECIMAL_COMMA.fullmatch(one[1])), None)
    with_point = next((one for one in cells if _DECIMAL_POINT.fullmatch(one[1])), None)
    if with_comma and with_point:
        raise InputError(
            f"{path}: '{printable(with_comma[0])}' has numbers such as {with_comma[1].strip()} and "
            f"'{printable(with_point[0])}' such as {with_point[1].strip()}, so a comma may divide "
            "thousands or decimals; write all numbers with a decimal point and nothing else"
        )
    return with_comma is not None


def read_separated(path: Path, rules: ColumnRules) -> Table:
    """Read profiles from separated text.

    Raises:
        InputError: text where numbers are wanted, a name that occurs twice, or bytes that are no text.
    """
    import pyarrow as pa

    dialect = dialect_of(path, rules=rules)
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


def read_text(path: Path, content: bytes | None = None, only: str | None = None) -> pa.Table:
    """A table all of whose columns are text as it is written, or ``only`` one of them.

    Raises:
        InputError: it cannot be decoded, or is no such table.
    """
    import pyarrow as pa

    dialect = dialect_of(path, content)
    require_unique(dialect.names, path)
    names = [name for name in dialect.names if only in (None, name)]
    return _read(path, dialect, dict.fromkeys(names, pa.string()), content)


def _read(path: Path, dialect: Dialect, types: dict[str, pa.DataType], content: bytes | None = None) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as arrow

    convert = arrow.ConvertOptions(
        check_utf8=True,
        column_types=types,
        null_values=[*MISSING],
        # Text is taken as it stands: what is missing is decided by one rule for all formats.
        strings_can_be_null=False,
        include_columns=[*types],
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
            commas = ", or write it with a decimal point" if _DECIMAL_COMMA.fullmatch(text) else ""
            faults.append(
                f"{path}: the feature column '{printable(name)}' holds text ('{printable(text)}' in row {row}); give "
                f"it a role with --column, name its prefix with --metadata-prefix, or mend the value{commas}"
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
        if bare in MISSING:
            continue
        spelled = bare.replace(",", ".") if decimal_comma else bare
        if bare.lower() in booleans:
            values[row] = booleans[bare.lower()]
        elif _NUMBER.fullmatch(spelled):
            values[row] = float(spelled)
        else:
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
