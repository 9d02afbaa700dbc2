"""What is said of a file's numbers: those that were left out of the features, those that may be none, and precision."""

from __future__ import annotations

from collections.abc import Sequence

from phenobench.profiles.conditions import names_in
from phenobench.profiles.feature_columns import is_no_feature, listed, loners
from phenobench.profiles.formats import Table
from phenobench.profiles.joining import Columns
from phenobench.profiles.labels import is_number
from phenobench.profiles.settings import Reading


def notes_on_columns(columns: Columns, names: Sequence[str], reading: Reading) -> list[str]:
    """Numbers that were left out of the features, and features that may be none."""
    if reading.feature_prefixes:
        return []
    told = [
        name
        for name in columns.names
        if not name.strip().startswith(reading.all_prefixes) and _is_numeric(columns, name)
    ]
    every = [*columns.names, *names]
    known = [name for name in told if is_no_feature(name, every) and name not in reading.role_columns]
    twice = [(name, bare) for name in known if (bare := "".join(name.split())) != name and bare in every]
    in_conditions = [name for name in told if name not in known and name in names_in(reading.conditions, columns.names)]
    notes = []
    if known:
        notes.append(
            f"{len(known)} column{'s' if len(known) > 1 else ''} of numbers left out of the features, since the name "
            f"says something else: {listed(known, 10)} "
            f'(--keep-feature "{known[0]}" makes one a feature)'
        )
    if in_conditions:
        notes.append(f"{listed(in_conditions)} stand in a condition and so count as metadata, not as features")
    if twice:
        notes.append(f"'{twice[0][0]}' is called as '{twice[0][1]}' but for blanks")
    alone = [name for name in loners(names) if name not in reading.keep_features]
    if alone:
        notes.append(
            f"{len(alone)} of {len(names)} features share no prefix with the rest: {listed(alone, 10)}; if none, "
            "say what features start with, --feature-prefix, or name their prefix with --metadata-prefix"
        )
    return notes


def _is_numeric(columns: Columns, name: str) -> bool:
    if columns.is_number(name):
        return True
    labels = columns.coded(name).categories
    return len(labels) > 0 and all(map(is_number, labels))


def notes_on_precision(tables: Sequence[Table], names: Sequence[str]) -> list[str]:
    """Features that float32 keeps too coarsely, in the file or here."""
    coarse = [name for name in dict.fromkeys(name for table in tables for name in table.coarse) if name in names]
    exact = [name for name in dict.fromkeys(name for table in tables for name in table.exact) if name in names]
    notes = []
    if coarse:
        notes.append(
            f"the file keeps {len(coarse)} features as float32, which rounds away some of what varies in them beside "
            f"how large they are: {listed(coarse)}; store them centred, or as float64"
        )
    if exact:
        notes.append(
            f"{len(exact)} features vary by less than float32 keeps beside how large they are ({listed(exact)}); they "
            "are kept in float64 until they are centred, and rounded where nothing is"
        )
    return notes
