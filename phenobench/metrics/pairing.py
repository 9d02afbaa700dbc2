"""Which pairs of rows are positive and which negative, in copairs' vocabulary, as integer codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from phenobench.errors import InputError

_SETS = (list, tuple, set, frozenset, np.ndarray)


@dataclass(frozen=True, eq=False)
class Labels:
    """One metadata column as codes.

    A single-label column has ``codes`` (n,) and no ``sets``; a missing value has a negative code of
    its own, so that it equals nothing. A multi-label column (cells are lists, tuples or sets) has
    ``sets`` (n, n_labels), boolean membership.
    """

    codes: np.ndarray
    names: Sequence[str]
    sets: np.ndarray | None = None


def encode(column: pd.Series) -> Labels:
    """Codes of a single-label column, or membership of a multi-label one.

    Raises:
        InputError: some cells are lists and others are text.
    """
    # The types first: they are soon listed, and most columns have no sets among them.
    if not any(issubclass(kind, _SETS) for kind in set(map(type, column))):
        codes, found = pd.factorize(column)
        return Labels(np.where(codes < 0, -1 - np.arange(len(codes)), codes), list(found))
    is_set = column.map(lambda cell: isinstance(cell, _SETS))
    if not (is_set | column.isna()).all():
        raise InputError(f"column '{column.name}' mixes lists of labels with single values; make every cell a list")
    # Sorted, so that the order of output rows does not depend on the hash seed of sets.
    cells = [sorted(set(cell)) if several else [] for cell, several in zip(column, is_set, strict=True)]
    names = sorted({label for cell in cells for label in cell})
    index = {label: i for i, label in enumerate(names)}
    sets = np.zeros((len(cells), len(names)), dtype=bool)
    for row, cell in enumerate(cells):
        sets[row, [index[label] for label in cell]] = True
    return Labels(-1 - np.arange(len(cells)), names, sets)


def label_lists(column: pd.Series, separator: str = "|") -> pd.Series:
    """Cells such as ``EGFR|ERBB2`` as sorted lists of distinct labels, for ``encode``; an empty list where missing."""

    def split(cell: object) -> list[str]:
        return sorted({part.strip() for part in str(cell).split(separator)} - {""})

    return column.where(column.notna(), "").map(split)


def group_codes(columns: Sequence[Labels], n: int) -> np.ndarray:
    """Rows with equal values in all single-label columns share a code (n,); negative where one is missing."""
    if not columns:
        return np.zeros(n, dtype=np.int64)
    codes = columns[0].codes
    missing = codes < 0
    for column in columns[1:]:
        missing = missing | (column.codes < 0)
        # Both factors are below n, so that their pair is one number; unique columns of a matrix are found slowly.
        codes = pd.factorize(codes * np.int64(n) + column.codes)[0]
    return np.where(missing, -1 - np.arange(n), codes)


def differ(column: Labels, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether rows and others differ in a column: (r, o), multi-label rows differ when they share no label."""
    if column.sets is not None:
        shared = column.sets[rows].astype(np.float32) @ column.sets[others].astype(np.float32).T
        return shared == 0
    return column.codes[rows][:, None] != column.codes[others][None, :]


def pairs_differ(column: Labels, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``differ`` for pairs: rows (m,) with others (m,)."""
    if column.sets is not None:
        return ~(column.sets[rows] & column.sets[others]).any(axis=1)
    return column.codes[rows] != column.codes[others]
