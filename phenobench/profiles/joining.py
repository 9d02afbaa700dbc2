"""Several files as one table: the columns of all, each typed once for all files, and the features that all have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from phenobench.errors import InputError
from phenobench.profiles.feature_columns import listed
from phenobench.profiles.formats import Record, Table
from phenobench.profiles.labels import coded, loses_digits, plain

# Text that is a number and nothing but a number: no zero too many, no exponent, no more digits than a float holds.
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")


@dataclass(frozen=True)
class Origin:
    """Where the rows of a joined table come from, for messages: the files, and the rows up to the end of each."""

    files: Sequence[Path]
    ends: np.ndarray

    def __str__(self) -> str:
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0]}{more}"

    def row(self, row: int) -> str:
        """A row (from 0) of the joined table as a reader of its file counts it (from 1, without the header)."""
        file = int(np.searchsorted(self.ends, row, side="right"))
        start = int(self.ends[file - 1]) if file else 0
        return f"{self.files[file]}: row {row - start + 1}"

    def of_files(self, values: Iterable[str]) -> np.ndarray:
        """A value of each file as one of each row, object (n,)."""
        return np.repeat(np.array([*values], dtype=object), np.diff(self.ends, prepend=0))


class Columns:
    """Metadata columns of joined files under the names that they have there, as labels or as values."""

    def __init__(self, parts: Sequence[pa.Table], where: object) -> None:
        self._parts = parts
        self._where = where
        self._labels: dict[tuple[str, frozenset[str]], pd.Categorical] = {}
        self.names: tuple[str, ...] = tuple(dict.fromkeys(name for part in parts for name in part.column_names))
        self.n = sum(part.num_rows for part in parts)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def absent(self, name: str) -> InputError:
        """The error for a column that is not there."""
        known = ", ".join(self.names) or "none"
        return InputError(f"{self._where}: there is no column '{name}'; metadata columns: {known}")

    def part(self, name: str) -> list[pa.ChunkedArray]:
        """The column in each file, nothing but nulls where a file does not have it.

        Raises:
            InputError: no file has it.
        """
        if name not in self:
            raise self.absent(name)
        return [
            part.column(name) if name in part.column_names else pa.chunked_array([pa.nulls(part.num_rows)])
            for part in self._parts
        ]

    def with_column(self, name: str, labels: np.ndarray) -> Columns:
        """The same with another column of labels, object (n,).

        Raises:
            InputError: there is a column of that name.
        """
        if name in self:
            raise InputError(f"{self._where}: there is a column '{name}' already; rename it")
        ends = np.cumsum([part.num_rows for part in self._parts])[:-1]
        pieces = np.split(labels, ends)
        parts = [
            part.append_column(name, pa.array(piece, pa.string()))
            for part, piece in zip(self._parts, pieces, strict=True)
        ]
        return Columns(parts, self._where)

    def labels(self, name: str) -> np.ndarray:
        """The labels of a column, object (n,), None where there is none; errors as ``coded``."""
        return plain(self.coded(name))

    def coded(self, name: str, spellings: Iterable[str] = ()) -> pd.Categorical:
        """The labels of a column as codes; see ``labels.coded``.

        Raises:
            InputError: there is no such column, or it holds bytes that are no text.
        """
        key = (name, frozenset(spellings))
        if key not in self._labels:
            parts = self.part(name)
            try:
                self._labels[key] = coded(parts, spellings)
            except pa.ArrowInvalid as error:
                raise InputError(f"{self._where}: the column '{name}' is not UTF-8 text; save it as UTF-8") from error
        return self._labels[key]

    def is_number(self, name: str) -> bool:
        """Whether a file keeps the column as numbers, which have no spelling of their own."""
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
        return any(test(part.type) for part in self.part(name) for test in tests)

    def loses_digits(self, name: str) -> bool:
        """Whether a file keeps large whole numbers of the column as floats, in which some are the same."""
        return any(map(loses_digits, self.part(name)))

    def values(self, name: str) -> pd.Series:
        """The column as it is written again: numbers where it is nothing but numbers, else labels."""
        parts = self.part(name)
        kinds = [part.type for part in parts if not pa.types.is_null(part.type)]
        if kinds and all(map(pa.types.is_nested, kinds)):
            return pd.concat([part.to_pandas() for part in parts], ignore_index=True)
        if kinds and all(map(_is_numeric, kinds)):
            numbers = _numbers(parts, kinds)
        else:
            numbers = _as_numbers(self.coded(name)) if kinds and all(map(_is_text, kinds)) else None
        return pd.Series(plain(self.coded(name)), dtype=object) if numbers is None else numbers


def _is_numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _numbers(parts: Sequence[pa.ChunkedArray], kinds: Sequence[pa.DataType]) -> pd.Series | None:
    """Numbers of several files as one column, whole ones whole beside missing ones; None where digits would be lost."""
    if all(map(pa.types.is_boolean, kinds)):
        common = pa.bool_()
    elif all(map(pa.types.is_integer, kinds)):
        common = pa.int64() if pa.uint64() not in kinds else pa.uint64()
    else:
        common = pa.float64()
    try:
        chunks = [chunk.cast(common) for part in parts for chunk in part.chunks]
    except pa.ArrowInvalid:
        return None
    whole = pa.chunked_array(chunks, common)
    if not whole.null_count or pa.types.is_floating(common):
        return whole.to_pandas()
    nullable = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return whole.to_pandas(types_mapper=nullable.get)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _as_numbers(labels: pd.Categorical) -> pd.Series | None:
    """Labels as numbers where each is written as a number is; else None."""
    codes, unique = labels.codes, labels.categories
    # "10" and "10.0" are two labels and would be one number.
    plainly = len(unique) > 0 and all(_PLAIN_NUMBER.fullmatch(text) for text in unique)
    if not plainly or len(set(map(float, unique))) < len(unique):
        return None
    if any("." in text for text in unique):
        return pd.Series(np.array([*map(float, unique), np.nan])[codes])
    whole = np.array([*map(int, unique)], dtype=np.int64)[codes]
    return pd.Series(pd.array(whole, dtype="Int64")).where(codes >= 0) if (codes < 0).any() else pd.Series(whole)


def joined_features(tables: Sequence[Table], where: object) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """The features that all files have, float32 (n, d), their names, and a note on the others.

    Raises:
        InputError: there is none.
    """
    if len(tables) == 1:
        return tables[0].features, tables[0].feature_names, ()
    shared = set(tables[0].feature_names).intersection(*(table.feature_names for table in tables[1:]))
    names = tuple(name for name in tables[0].feature_names if name in shared)
    if not names:
        raise InputError(f"{where}: the files have no feature in common; give files of one feature set")
    every = set().union(*(table.feature_names for table in tables))
    features = np.concatenate([table.features[:, _positions(table.feature_names, names)] for table in tables])
    lost = sorted(every.difference(names))
    notes = (
        (f"{len(lost)} of {len(every)} features are not in all files and were left out ({listed(lost)})",)
        if lost
        else ()
    )
    return features, names, notes


def joined_exact(tables: Sequence[Table]) -> dict[str, np.ndarray]:
    """The features of which float32 would lose what varies, in float64 (n,), by name."""
    names = dict.fromkeys(name for table in tables for name in table.exact)
    return {name: np.concatenate([_in_double(table, name) for table in tables]) for name in names}


def _in_double(table: Table, name: str) -> np.ndarray:
    if name in table.exact:
        return table.exact[name]
    if name not in table.feature_names:
        return np.full(len(table.features), np.nan)
    return table.features[:, table.feature_names.index(name)].astype(np.float64)


def joined_records(records: Sequence[Record], named: Container[str] = ()) -> Record:
    """One record for several files; what they do not share is not known of them together.

    Raises:
        InputError: files say two columns for one role, and it is not ``named`` anew.
    """
    if len(records) == 1:
        return records[0]
    first = records[0]
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record.dropped)
    return Record(
        steps=first.steps if all(record.steps == first.steps for record in records) else (),
        dropped=dropped,
        notes=tuple(dict.fromkeys(note for record in records for note in record.notes)),
        roles=_joined_roles(records, named),
        metadata=tuple(dict.fromkeys(name for record in records for name in record.metadata)),
        features=tuple(dict.fromkeys(name for record in records for name in record.features)),
    )


def _joined_roles(records: Sequence[Record], named: Container[str]) -> dict[str, str]:
    """Role -> column, as far as files say so.

    Raises:
        InputError: two files say two columns for one role.
    """
    found: dict[str, str] = {}
    for role, name in (pair for record in records for pair in record.roles.items()):
        if found.setdefault(role, name) != name and role not in named:
            raise InputError(
                f"the files say that '{found[role]}' and that '{name}' stands for the {role}; say which one does, "
                f"--column {role}={name}"
            )
    return found


def _positions(have: tuple[str, ...], want: tuple[str, ...]) -> list[int]:
    index = {name: i for i, name in enumerate(have)}
    return [index[name] for name in want]
