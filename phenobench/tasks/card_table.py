"""A CSV file that a card names, held to the hash by which a result says what it rests on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from phenobench.errors import InputError
from phenobench.files import sha256_of


def read_card_table(
    path: Path, of: str, *, text: Sequence[str], numbers: Sequence[str], sha256: str | None = None
) -> pd.DataFrame:
    """The named columns of a table, in that order; missing values are missing still.

    Args:
        path: of a CSV file.
        of: what it is a table of, for messages.
        text: columns of text.
        numbers: columns of numbers.
        sha256: what the file has to have; None where it is known already.

    Raises:
        InputError: no such file, another hash, no CSV file, a column that is missing or has no numbers.
    """
    path = path.expanduser()
    try:
        digest = sha256_of(path)
        # Another file may be anything: it is not read first.
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str)) if sha256 in (None, digest) else None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        fault = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read ({fault}); mend the card's table of {of}") from error
    if table is None:
        raise InputError(f"{path} has the sha256 {digest} and the card another; name the file that the card means")
    columns = [*text, *numbers]
    for name in columns:
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; a table of {of} has {', '.join(columns)}")
    for name in numbers:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError(f"{path}: the column '{name}' has values that are no numbers; mend them")
    return table[columns]
