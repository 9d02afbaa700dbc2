"""Where a score comes from: hashes of what went in, versions of what computed it."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

import phenobench
from phenobench.profiles import ROLES

# The packages whose version can change a score.
_PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "pycytominer", "torch")


def wells_sha256(wells: pd.DataFrame) -> str:
    """The hash of a screen: its wells' roles, sorted, whatever the order of rows and however many other columns.

    Only the columns with a role count: two files of embeddings of one screen may carry other
    remarks, and still are of the same screen.
    """
    columns = [name for name in ROLES.values() if name in wells]
    table = wells[columns].astype("str").where(wells[columns].notna(), "")
    lines = sorted("\t".join(row) for row in table.itertuples(index=False, name=None))
    return hashlib.sha256("\n".join(["\t".join(columns), *lines]).encode()).hexdigest()


def screen_sha256(wells: pd.DataFrame, images: str | None) -> str:
    """The hash of a screen's wells, and of its images where it has some."""
    labels = wells_sha256(wells)
    return text_sha256(labels, images) if images else labels


def features_sha256(features: np.ndarray, names: tuple[str, ...]) -> str:
    """The hash of an embedding: names and float32 values, rows in the order of the screen's wells."""
    digest = hashlib.sha256(_joined(names))
    digest.update(np.ascontiguousarray(features, dtype="<f4").data)
    return digest.hexdigest()


def names_sha256(names: tuple[str, ...]) -> str:
    """The hash of the names of features, joined by tabs, in their order."""
    return hashlib.sha256(_joined(names)).hexdigest()


def _joined(names: tuple[str, ...]) -> bytes:
    return "\t".join(names).encode()


def text_sha256(*parts: str) -> str:
    """The hash of some words."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def environment() -> dict[str, str]:
    """Versions and platform: what may change a score's last digits."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


@cache
def phenobench_version() -> dict[str, str | None]:
    """The installed version, and the commit where the package runs from a git checkout."""
    folder = Path(phenobench.__file__).parent.parent
    commit = None
    if (folder / ".git").exists():
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
        try:
            commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            commit = None
    return {"version": phenobench.__version__, "git": commit}
