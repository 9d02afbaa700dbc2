"""All rows, in the order of the table."""

from __future__ import annotations

from benchmarks.speed import normalization, reading, relations, retrieval
from benchmarks.speed.row import Row
from phenobench.errors import unknown

ROWS = (*retrieval.ROWS, *normalization.ROWS, *relations.ROWS, *reading.ROWS)


def find(name: str) -> Row:
    """The row of a name.

    Raises:
        InputError: there is none.
    """
    for row in ROWS:
        if row.name == name:
            return row
    raise unknown("row", name, (row.name for row in ROWS))
