"""Well names in the one form that everything else relies on: ``A01``."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from phenobench.errors import InputError

# Row letters then column digits; 1536-well plates run to AF48. Acquisition software writes r01c01, and others a sign
# between row and column.
_WELL = re.compile(r"([A-Za-z]{1,2})[-_:]?0*([1-9][0-9]?)")
_BY_NUMBERS = re.compile(r"[rR](?:ow)?[-_ ]?0*([1-9][0-9]?)[-_ ,]*[cC](?:ol)?[-_ ]?0*([1-9][0-9]?)")
# A site may follow the well: A01_s1, A01-2, r01c01f05p01.
_SITE = re.compile(r"(?P<well>.*?[0-9])(?:[-_ ](?:s|site|f|fov|field)?[-_ ]?[0-9]+|f[0-9]+(?:p[0-9]+)?)", re.IGNORECASE)
_PART = re.compile(r"0*([1-9][0-9]?)(?:\.0+)?")
_ROWS, _COLUMNS = 32, 48


def normalize_well(name: str) -> str:
    """``a1``, ``A1``, ``A001``, ``A-01``, ``r01c01`` and ``A01_s1`` become ``A01``; ``af48`` becomes ``AF48``.

    Raises:
        InputError: the name is no well of a plate of up to 1536 wells.
    """
    well = well_or_none(name)
    if well is None:
        raise InputError(f"'{name}' is no well name; write wells as A01 (row A to AF, column 1 to 48)")
    return well


def well_or_none(name: str) -> str | None:
    """The ``A01`` form of a name, None where it names no well."""
    name = name.strip()
    whole = _of_well(name)
    site = _SITE.fullmatch(name)
    return whole if whole is not None or site is None else _of_well(site["well"])


def has_site(name: str) -> bool:
    """Whether a name is that of a well with a site behind it."""
    return _of_well(name.strip()) is None and well_or_none(name) is not None


def _of_well(name: str) -> str | None:
    if match := _WELL.fullmatch(name):
        return _placed(_number_of(match[1]), int(match[2]))
    if match := _BY_NUMBERS.fullmatch(name):
        return _placed(int(match[1]), int(match[2]))
    return None


def _placed(row: int, column: int) -> str | None:
    if not (0 < row <= _ROWS and 0 < column <= _COLUMNS):
        return None
    letters = chr(ord("A") + (row - 1) % 26)
    return f"{'A' if row > 26 else ''}{letters}{column:02d}"


def _number_of(letters: str) -> int:
    row = 0
    for letter in letters.upper():
        row = row * 26 + ord(letter) - ord("A") + 1
    return row


def of_row_and_column(row: str | None, column: str | None) -> str | None:
    """A well's name from its row, a letter or a number from 1, and its column; None where either is missing.

    What names no well is given back as it is, with a comma, for a message to show.
    """
    if row is None or column is None:
        return None
    if re.fullmatch(r"[A-Za-z]{1,2}", column):
        row, column = column, row
    number = _number_of(row) if re.fullmatch(r"[A-Za-z]{1,2}", row) else _whole(row)
    at = _whole(column)
    return (number and at and _placed(number, at)) or f"{row},{column}"


def _whole(text: str) -> int | None:
    match = _PART.fullmatch(text)
    return int(match[1]) if match else None


def normalize_wells(names: pd.Series, place: Callable[[int], str]) -> pd.Series:
    """A column of well names in ``A01`` form, as codes; ``place`` says in errors where the i-th of them is.

    Raises:
        InputError: naming the first row whose well cannot be read.
    """
    codes, unique = pd.factorize(names)
    normalized = [well_or_none(str(name)) for name in unique]
    strange = [code for code, well in enumerate(normalized) if well is None]
    if strange:
        rows = np.flatnonzero(np.isin(codes, strange))
        more = f" (and {len(rows) - 1} rows like it)" if len(rows) > 1 else ""
        try:
            normalize_well(str(unique[codes[rows[0]]]))
        except InputError as error:
            raise InputError(f"{place(int(rows[0]))}: {error}{more}") from None
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        raise InputError(f"{place(row)} has no well name; fill it in, or leave it out with --exclude {names.name}=")
    index = {well: code for code, well in enumerate(dict.fromkeys(normalized))}
    number = np.array([index[well] for well in normalized], dtype=np.intp)[codes]
    wells = pd.Categorical.from_codes(number, dtype=pd.CategoricalDtype([*index]))  # type: ignore[arg-type]
    return pd.Series(wells, index=names.index, name=names.name)
