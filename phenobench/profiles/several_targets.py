"""Several targets in one cell: as labels each, and what is said where they may be there in another form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from phenobench.profiles.labels import SEVERAL, unwrapped
from phenobench.profiles.roles import ROLES

# What may stand between targets in place of |, the surest first.
_SEPARATORS = (";", ",", "/", "+", " ")


def distinct_labels(wells: pd.DataFrame, role: str) -> Iterable[str]:
    """The labels that a role's column has; of targets each of a cell."""
    labels = wells[ROLES[role]].dropna().unique()
    if role != "target":
        return labels
    return {part.strip() for label in labels for part in str(label).split(SEVERAL)} - {""}


def other_separators(wells: pd.DataFrame, name: str, separators: Mapping[str, str]) -> list[str]:
    """A note where cells of targets hold several in another form than ``A|B``."""
    if ROLES["target"] not in wells or "target" in separators:
        return []
    cells = [str(cell) for cell in wells[ROLES["target"]].dropna().unique()]
    for separator in _SEPARATORS:
        several = [cell for cell in cells if _is_several(cell, separator, set(cells))]
        if several:
            note = (
                f"{len(several)} cells of {name} look like several targets (such as '{several[0][:60]}') and count as "
                f'one; if they are several, say --separator target="{separator}"'
            )
            return [note]
    return []


def _is_several(cell: str, separator: str, whole: set[str]) -> bool:
    """Whether a cell is a list by that separator: for sure, or since a part of it is a cell of its own elsewhere."""
    printed = cell[:1] in "[({" and cell[-1:] in "])}"
    parts = [unwrapped(part) for part in cell.split(separator)]
    if printed and separator == ",":
        return True
    if len(list(filter(None, parts))) < 2:
        return False
    if separator == ",":
        return ", " in cell or not any(" " in part for part in parts)
    return separator == ";" or printed or (separator != " " and any(part in whole for part in parts))
