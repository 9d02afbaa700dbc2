"""Well names in the one form that everything else relies on: ``A01``."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from phenobench.errors import InputError

# Row letters then column digits; 1536-well plates run to AF48.
_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]?)")
_ROWS, _COLUMNS = 32, 48


def normalize_well(name: str) -> str:
    """``a1``, ``A1``, ``A001`` and ``A01`` become ``A01``; ``af48`` becomes ``AF48``.

    Raises:
        InputError: the name is no well of a plate of up to 1536 wells.
    """
    match = _WELL.fullmatch(name.strip())
    if match:
        letters, column = match[1].upper(), int(match[2])
        row = 0
        for letter in letters:
            row = row * 26 + ord(letter) - ord("A") + 1
        if row <= _ROWS and column <= _COLUMNS:
            return f"{letters}{column:02d}"
    raise InputError(f"'{name}' is no well name; write wells as A01 (row A to AF, column 1 to 48)")


def normalize_wells(names: pd.Series, place: Callable[[int], str]) -> pd.Series:
    """A column of well names in ``A01`` form; ``place`` says in errors where the i-th of them is.

    Raises:
        InputError: naming the first row whose well cannot be read.
    """
    codes, unique = pd.factorize(names)
    normalized: list[str | None] = []
    for code, name in enumerate(unique):
        try:
            normalized.append(normalize_well(str(name)))
        except InputError as error:
            raise InputError(f"{place(int((codes == code).argmax()))}: {error}") from None
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        raise InputError(f"{place(row)} has no well name; fill it in, or leave it out with --exclude {names.name}=")
    return pd.Series(np.array(normalized, dtype=object)[codes], index=names.index, name=names.name)
