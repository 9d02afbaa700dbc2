"""NaN and infinite features: refused with their place, or left out with their wells or features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from phenobench.errors import InputError
from phenobench.profiles.feature_columns import listed
from phenobench.profiles.finite import all_finite

NanPolicy = Literal["error", "drop-features", "drop-wells", "drop"]
NAN_POLICIES: tuple[NanPolicy, ...] = ("error", "drop-features", "drop-wells", "drop")
# Why wells are left out.
NOT_FINITE = "NaN or infinite features"


@dataclass(frozen=True)
class Kept:
    """What stays: boolean over wells (n,) and over features (d,), and what is said of the features that go."""

    wells: np.ndarray
    features: np.ndarray
    notes: tuple[str, ...] = ()


def keep_finite(
    features: np.ndarray, names: Sequence[str], policy: NanPolicy, place: Callable[[int], str], where: object
) -> Kept:
    """The wells and features without NaN and infinite values, by policy.

    Args:
        features: float32 (n, d).
        names: d names.
        policy: "error", or what is left out; "drop" takes wells, features or some of both, whichever loses the fewest
            values.
        place: where the i-th well is.
        where: the files, for messages.

    Raises:
        InputError: the policy is "error" and a value is missing, or nothing would be left.
    """
    n, d = features.shape
    wells, columns = np.ones(n, dtype=bool), np.ones(d, dtype=bool)
    if all_finite(features):
        return Kept(wells, columns)
    bad = ~np.isfinite(features)
    if policy == "error":
        raise InputError(_first(features, bad, names, place))
    if policy == "drop-wells":
        wells = ~bad.any(axis=1)
    elif policy == "drop-features":
        columns = ~bad.any(axis=0)
    else:
        wells, columns = _fewest(bad)
    if not wells.any():
        empty = listed([name for name, missing in zip(names, bad.all(axis=0), strict=True) if missing])
        why = f"the features {empty} are missing in all wells" if empty else "no feature is there in all wells"
        raise InputError(f"{where}: every well has a NaN or infinite feature ({why}); {_way_out(bad)}")
    if not columns.any():
        lost = int(bad.all(axis=1).sum())
        first = f" ({lost} wells have none at all, the first is {place(int(bad.all(axis=1).argmax()))})" if lost else ""
        raise InputError(f"{where}: every feature is NaN or infinite in some well{first}; {_way_out(bad)}")
    gone = [name for name, stays in zip(names, columns, strict=True) if not stays]
    if policy == "drop-features" or not gone:
        notes = (f"{len(gone)} features with NaN or infinite values were left out",) if gone else ()
    else:
        notes = (f"{len(gone)} features with NaN or infinite values were left out ({listed(gone)})",)
    if policy == "drop" and not wells.all():
        gone_wells = np.flatnonzero(~wells)
        notes = (
            *notes,
            f"{len(gone_wells)} wells with NaN or infinite values were left out (first: {place(int(gone_wells[0]))})",
        )
    return Kept(wells, columns, notes)


def _first(features: np.ndarray, bad: np.ndarray, names: Sequence[str], place: Callable[[int], str]) -> str:
    row, column = divmod(int(bad.argmax()), bad.shape[1])
    kind = "NaN" if np.isnan(features[row, column]) else "infinite as float32"
    return (
        f"{place(row)}, feature '{names[column]}' is {kind} ({int(bad.sum())} such values, in "
        f"{int(bad.any(axis=1).sum())} wells and {int(bad.any(axis=0).sum())} features); {_way_out(bad)}, or "
        "--nan drop-features or --nan drop-wells, or mend the file"
    )


def _way_out(bad: np.ndarray) -> str:
    """What ``--nan drop`` would leave out."""
    wells, columns = _fewest(bad)
    parts = [
        f"{lost} of {len(kept)} {what}"
        for what, kept in (("wells", wells), ("features", columns))
        if (lost := int((~kept).sum()))
    ]
    return f"use --nan drop, which leaves out {' and '.join(parts)}"


def _fewest(bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The wells (n,) and features (d,) that stay where fewest values go: all bad wells, features, or some."""
    n, d = bad.shape
    every_well, every_feature = np.ones(n, dtype=bool), np.ones(d, dtype=bool)
    ways: list[tuple[np.ndarray, np.ndarray]] = [
        (np.asarray(~bad.any(axis=1)), every_feature),
        (every_well, np.asarray(~bad.any(axis=0))),
        _worst_first(bad),
    ]
    # Of equals the first, which is the simplest.
    return max(ways, key=lambda way: int(way[0].sum()) * int(way[1].sum()))


def _worst_first(bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out what has the largest share of missing values, wells or features, until none is left."""
    wells, columns = np.ones(bad.shape[0], dtype=bool), np.ones(bad.shape[1], dtype=bool)
    of_well, of_column = bad.sum(axis=1), bad.sum(axis=0)
    while of_well.any() and wells.any() and columns.any():
        by_well, by_column = of_well / columns.sum(), of_column / wells.sum()
        if by_well.max() >= by_column.max():
            gone = by_well == by_well.max()
            wells &= ~gone
            of_column = of_column - bad[gone].sum(axis=0)
            of_well = np.where(gone, 0, of_well)
        else:
            gone = by_column == by_column.max()
            columns &= ~gone
            of_well = of_well - bad[:, gone].sum(axis=1)
            of_column = np.where(gone, 0, of_column)
        # What is left out has no share any more.
        of_well, of_column = np.where(wells, of_well, 0), np.where(columns, of_column, 0)
    return wells, columns
