"""Features of sites that are kept between runs, a file a plate: pooling may change, and they cost the most."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phenobench.files import atomic


@dataclass(frozen=True, eq=False)
class Sites:
    """What is known of a plate's sites before wells are pooled.

    Attributes:
        rows: the well of each site, a row of the screen's wells, int (n,).
        features: (n, ...).
        damaged: row and name of each site that was left out since an image of it cannot be used.
        sixteen_bit: some images had 16 bits.
    """

    rows: np.ndarray
    features: np.ndarray
    damaged: tuple[tuple[int, str], ...] = ()
    sixteen_bit: bool = False


def read_sites(path: Path | None) -> Sites | None:
    """What a file holds; None where there is none or it is damaged, and it is to be made again.

    The folder says what the features follow from.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as there:
            # Files of plates of 8 bits without damage have no more than the first two.
            lost = there["damaged_rows"].tolist() if "damaged_rows" in there else []
            names = there["damaged_sites"].tolist() if "damaged_sites" in there else []
            damaged = tuple(zip(lost, names, strict=True))
            return Sites(there["rows"], there["features"], damaged, "sixteen_bit" in there)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def keep_sites(path: Path | None, sites: Sites) -> None:
    """Write a file, whole or not at all; nothing without a path.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return
    arrays = {"rows": sites.rows, "features": sites.features}
    if sites.damaged:
        arrays["damaged_rows"] = np.array([row for row, _ in sites.damaged])
        arrays["damaged_sites"] = np.array([name for _, name in sites.damaged], dtype=np.str_)
    if sites.sixteen_bit:
        arrays["sixteen_bit"] = np.array(True)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
