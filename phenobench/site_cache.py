"""Features of sites that are kept between runs, a file a plate: pooling may change, and they cost the most."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from phenobench.files import atomic

# Rows of wells (n,) and the features of their sites (n, ...).
Sites = tuple[np.ndarray, np.ndarray]


def kept_sites(path: Path | None, compute: Callable[[], Sites]) -> Sites:
    """What ``path`` holds, else what is computed, which is then kept there; without a path nothing is kept.

    The folder says what the features follow from; a damaged file is made again.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return compute()
    try:
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as there:
            return there["rows"], there["features"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        rows, features = compute()
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, rows=rows, features=features)
    return rows, features
