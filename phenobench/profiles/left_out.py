"""Wells that are left out of a screen: which, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.files import write_text
from phenobench.profiles.roles import ROLES
from phenobench.profiles.well_names import normalize_well

REASON = "reason"
NO_IMAGES, NO_METADATA = "metadata without images", "images without metadata"
UNLABELLED, EMPTY = "no perturbation label", "marked empty"
_PLACE = [ROLES[role] for role in ("source", "plate", "well")]


def left_out(wells: pd.DataFrame, reason: str | np.ndarray | pd.Series) -> pd.DataFrame:
    """Wells with the reason why each is left out: source, plate and well as far as ``wells`` has them.

    Args:
        wells: n rows, one a well.
        reason: for all of them, or n.
    """
    listed = wells[[name for name in _PLACE if name in wells]].assign(**{REASON: reason}).astype(object)
    if ROLES["well"] in listed:
        listed[ROLES["well"]] = listed[ROLES["well"]].map(_as_a_well)
    return listed.reset_index(drop=True)


def labelled(wells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The wells that can be scored, and those left out since they are marked empty or nothing says what they got.

    Where there is no column of perturbations, all that are not marked empty stay: they can be embedded.
    """
    kind = wells[ROLES["pert_type"]]
    empty = (kind == "empty").to_numpy()
    unlabelled = np.zeros(len(wells), dtype=bool)
    if ROLES["perturbation"] in wells:
        unlabelled = (wells[ROLES["perturbation"]].isna() & ~empty & (kind != "negcon")).to_numpy()
    lost = empty | unlabelled
    return wells[~lost], left_out(wells[lost], np.where(empty, EMPTY, UNLABELLED)[lost])


def joined(parts: Iterable[pd.DataFrame | None]) -> pd.DataFrame:
    """All wells that are left out, sorted."""
    tables = [part for part in parts if part is not None and len(part)]
    if not tables:
        return pd.DataFrame(columns=[*_PLACE[1:], REASON])
    table = pd.concat(tables)
    columns = [name for name in (*_PLACE, REASON) if name in table]
    return table[columns].sort_values(columns, key=lambda column: column.astype(str), ignore_index=True)


def counted(wells: pd.DataFrame) -> dict[str, int]:
    """How many are left out for each reason, by reason."""
    return dict(sorted(Counter(wells[REASON]).items()))


def write(wells: pd.DataFrame | None, path: Path) -> None:
    """Write them as CSV.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(path, joined([wells]).to_csv(index=False, lineterminator="\n"))


def _as_a_well(name: object) -> object:
    """The ``A01`` form; what is no well's name, for which a well may be left out, stays as it is."""
    with suppress(InputError):
        return normalize_well(str(name))
    return name
