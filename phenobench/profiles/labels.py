"""What a label is: text as its owner wrote it, by one rule for every format and file.

Text stays as it is but for blanks at its ends. A number, which a format keeps without a spelling, is spelled by the
shortest text that reads back; equal numbers are one label whatever their width or their file, and where another file
has the column as text, a number takes the spelling that occurs there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

# What files write where they mean "nothing".
MISSING = ("", "nan", "NaN", "NA", "N/A", "n/a", "#N/A", "None", "null", "NULL", "<NA>")
_EMPTY = frozenset(MISSING)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
# Whole numbers up to here are all different in a float of so many bits.
_EXACT_UP_TO = {16: 2**11, 32: 2**24, 64: 2**53}
_PLAIN = re.compile(r"-?\d+(\.\d+)?")
_FLOATS = {16: np.float16, 32: np.float32}
# What parts of a label that is joined from several columns are joined by, and several labels in one cell.
JOINT, SEVERAL = ",", "|"


def cleaned(text: str) -> str | None:
    """A label without blanks at its ends (non-breaking ones too); None where it means that there is none."""
    text = text.strip()
    return None if text in _EMPTY else text


def unwrapped(text: str) -> str:
    """A part of a printed list without the list's brackets and its own quotes."""
    return text.strip(" \t[](){}'\"")


def number_of(text: str) -> Decimal | None:
    """The number that a text spells, exactly; None where it spells none."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def is_number(text: str) -> bool:
    """Whether a text spells a number."""
    return _NUMBER.fullmatch(text) is not None


@dataclass(frozen=True)
class _Part:
    """A column of one file: the code of each row (n,), and what codes stand for.

    Attributes:
        codes: int (n,); -1 is missing.
        values: what is not text is yet to be spelled; None is missing.
        kind: "integer", "decimal" or "float" where the file keeps numbers.
    """

    codes: np.ndarray
    values: Sequence[Value]
    kind: str = "text"


# A value that is not text has no spelling yet.
Value = str | Decimal | datetime | None


def spell(parts: Sequence[pa.ChunkedArray], spellings: Iterable[str] = ()) -> np.ndarray:
    """The labels of a column, object (n,): text, and None where there is none; arguments as ``coded``."""
    return plain(coded(parts, spellings))


def plain(labels: pd.Categorical) -> np.ndarray:
    """Labels as objects (n,), None where there is none."""
    return np.array([*labels.categories, None], dtype=object)[labels.codes]


def coded(parts: Sequence[pa.ChunkedArray], spellings: Iterable[str] = ()) -> pd.Categorical:
    """The labels of a column as codes, since text is slow to compare.

    Args:
        parts: the column in each file, in order.
        spellings: texts by which numbers are spelled elsewhere.
    """
    encoded = [_encoded(part) for part in parts]
    spelled = _spelled_numbers(encoded, spellings) | _spelled_times(encoded)
    index: dict[str, int] = {}
    codes = []
    for part in encoded:
        labels = (value if value is None or isinstance(value, str) else spelled[value] for value in part.values)
        code = [-1 if label is None else index.setdefault(label, len(index)) for label in labels]
        codes.append(np.array([*code, -1])[part.codes])
    kind = pd.CategoricalDtype(pd.Index([*index], dtype=object))
    return pd.Categorical.from_codes(np.concatenate(codes), dtype=kind)  # type: ignore[arg-type]


def _spelled_numbers(parts: Sequence[_Part], spellings: Iterable[str]) -> dict[Value, str]:
    """How each number is spelled: as other files do, else as an integer where a file has it as one."""
    by_kind: dict[str, set[Decimal]] = {"integer": set(), "decimal": set(), "float": set()}
    for part in parts:
        by_kind.setdefault(part.kind, set()).update(value for value in part.values if isinstance(value, Decimal))
    numbers = set().union(*by_kind.values())
    if not numbers:
        return {}
    texts: dict[Decimal, set[str]] = {}
    for text in {*spellings, *(value for part in parts for value in part.values if isinstance(value, str))}:
        # What has an exponent or a sign is a code rather than a way to spell a number.
        number = Decimal(text) if _PLAIN.fullmatch(text) else None
        if number is not None:
            texts.setdefault(number, set()).add(text)
    integers = by_kind["integer"]
    whole = bool(integers) and all(number == number.to_integral_value() for number in numbers)
    found: dict[Value, str] = {}
    for number in numbers:
        there = [*texts.get(number, ())]
        if len(there) == 1:
            found[number] = there[0]
        elif whole or number in integers:
            found[number] = str(int(number))
        elif number in by_kind["decimal"]:
            found[number] = f"{number.normalize():f}"
        else:
            found[number] = repr(float(number))
    return found


def _spelled_times(parts: Sequence[_Part]) -> dict[Value, str]:
    """Moments in ISO 8601 with a blank before the time; where all of a column are midnights they are dates."""
    moments = {value for part in parts for value in part.values if isinstance(value, datetime)}
    dates = all(moment.time() == time() for moment in moments)
    return {moment: moment.date().isoformat() if dates else moment.isoformat(" ") for moment in moments}


def _encoded(part: pa.ChunkedArray) -> _Part:
    import pyarrow as pa
    from pyarrow import types

    kind = part.type
    if types.is_dictionary(kind) and types.is_string(kind.value_type):
        return _of_codes(part)
    if types.is_dictionary(kind):
        kind = kind.value_type
        part = part.cast(kind)
    if types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        return _of_lists(part)
    if types.is_null(kind):
        return _Part(np.full(len(part), -1), [])
    if kind in (pa.string_view(), pa.binary_view()) or types.is_binary(kind) or types.is_large_binary(kind):
        part = part.cast(pa.large_string())
    elif types.is_float16(kind):
        part = part.cast(pa.float32())
    encoded = part.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    values = encoded.dictionary.to_pylist()
    if types.is_floating(kind):
        return _Part(codes, [_float(value, kind.bit_width) for value in values], "float")
    if types.is_integer(kind):
        return _Part(codes, [Decimal(value) for value in values], "integer")
    if types.is_decimal(kind):
        return _Part(codes, values, "integer" if kind.scale <= 0 else "decimal")
    if types.is_temporal(kind):
        return _Part(codes, [value if isinstance(value, datetime) else _iso(value) for value in values])
    return _Part(codes, [cleaned(str(value)) for value in values])


def _of_codes(part: pa.ChunkedArray) -> _Part:
    """Text that comes as codes already."""
    whole = part.unify_dictionaries().combine_chunks()
    values = whole.dictionary.to_pylist()
    codes = whole.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return _Part(codes, [*(None if value is None else cleaned(value) for value in values), None])


def _float(value: float, width: int) -> Value:
    """A float by its shortest text, so that it is the same number whatever its width."""
    if not np.isfinite(value):
        return None if np.isnan(value) else repr(float(value))
    # Adding 0 makes one of the two zeros.
    return Decimal(repr(float(value if width == 64 else str(_FLOATS[width](value))) + 0.0))


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _of_lists(part: pa.ChunkedArray) -> _Part:
    """Lists are several labels in one cell; structs and maps are spelled as they are shown."""
    index: dict[str | None, int] = {}
    codes = np.empty(len(part), dtype=np.int64)
    for row, cell in enumerate(part.to_pylist()):
        codes[row] = index.setdefault(of_cell(cell), len(index))
    return _Part(codes, list(index))


def of_cell(cell: object) -> str | None:
    """The label of a single value; of a list, its labels with ``|`` between them."""
    if isinstance(cell, list | tuple | set | frozenset | np.ndarray):
        labels = [of_cell(value) for value in (sorted(cell) if isinstance(cell, set | frozenset) else cell)]
        return SEVERAL.join(label for label in labels if label is not None) or None
    if isinstance(cell, float | np.floating):
        value = _float(float(cell), 8 * cell.itemsize if isinstance(cell, np.floating) else 64)
        return repr(float(value)) if isinstance(value, Decimal) else None
    return None if cell is None else cleaned(str(cell))


def loses_digits(part: pa.ChunkedArray) -> bool:
    """Whether whole numbers are kept as floats where these no longer tell all of them apart."""
    import pyarrow.compute as pc
    from pyarrow import types

    if not types.is_floating(part.type) or not len(part):
        return False
    largest = pc.max(pc.abs(part.cast("float32" if types.is_float16(part.type) else part.type)), min_count=0).as_py()
    return largest is not None and np.isfinite(largest) and largest > _EXACT_UP_TO[part.type.bit_width]


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Labels of several columns as one, object (n,): missing where the first part is.

    Each part keeps its place, and one with a comma stands in quotes, so that different parts give different labels.
    """
    return np.array([_joint(row) for row in zip(*parts, strict=True)], dtype=object)


def _joint(row: tuple[str | None, ...]) -> str | None:
    if row[0] is None:
        return None
    parts = ["" if part is None else _quoted(part) for part in row]
    return JOINT.join(parts).rstrip(JOINT)


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if JOINT in part or part.startswith('"') else part


def shortened(names: Sequence[str], most: int = 3) -> str:
    """Labels for a message: the first few, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def with_column(wells: pd.DataFrame, name: str, values: Any) -> pd.DataFrame:
    """The same table with other values in a column, or with another column; no other column is copied."""
    found = wells.copy(deep=False)
    found[name] = values
    return found
