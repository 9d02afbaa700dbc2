"""A CSV file that a card names, held to the hash by which a result says what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.profiles.formats import read_label_table
from phenobench.profiles.labels import number_of


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
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); mend the card's table of {of}") from error
    # Another file may be anything: it is not read first.
    if sha256 not in (None, digest):
        raise InputError(f"{path} has the sha256 {digest} and the card another; name the file that the card means")
    try:
        table = read_label_table(path)
    except InputError as error:
        raise InputError(f"{error}; mend the card's table of {of}") from error
    columns = [*text, *numbers]
    for name in columns:
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; a table of {of} has {', '.join(columns)}")
    table = table[columns]
    for name in numbers:
        values = table[name].map(number_of, na_action="ignore")
        if (values.isna() & table[name].notna()).any():
            raise InputError(f"{path}: the column '{name}' has values that are no numbers; mend them")
        table = table.assign(**{name: values.astype(float)})
    return table
