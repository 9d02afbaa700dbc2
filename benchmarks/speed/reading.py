"""Rows about reading files of profiles, which are written once and are in the page cache then."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed.row import Row, Work, sized
from phenobench.profiles.reading import Reading, read_profiles

FEATURES = [f"feature_{number}" for number in range(384)]
METADATA = ("Metadata_Plate", "Metadata_Well", "Metadata_Perturbation", "Metadata_pert_type")
_PERTURBATIONS = 14_128
# One well in so many is a negative control.
_CONTROL_EVERY = 8
_WELLS = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]


def columns(n: int) -> dict[str, np.ndarray]:
    """Noise in float32 and four columns of text, 384 wells a plate."""
    rng = np.random.default_rng(0)
    control = np.arange(n) % _CONTROL_EVERY == 0
    names = np.array([f"compound {number:05d}" for number in range(_PERTURBATIONS)])
    plates = np.array([f"plate {number:03d}" for number in range(n // len(_WELLS) + 1)])
    texts = (
        plates[np.arange(n) // len(_WELLS)],
        np.resize(_WELLS, n),
        np.where(control, "DMSO", names[rng.integers(0, _PERTURBATIONS, n)]),
        np.where(control, "negcon", "trt"),
    )
    values = rng.standard_normal((len(FEATURES), n), dtype=np.float32)
    return dict(zip((*METADATA, *FEATURES), (*texts, *values), strict=True))


def write_parquet(n: int, path: Path) -> None:
    """As pyarrow does by default: snappy, a dictionary a column (525 MB for 342 MB of noise), one row group."""
    pq.write_table(pa.table(columns(n)), path)


def write_csv(n: int, path: Path) -> None:
    pd.DataFrame(columns(n)).to_csv(path, index=False)


def written(write: Callable[[int, Path], None], n: int) -> Path:
    """The file of so many wells in the temporary folder, made where it is missing; nothing of it waits for the disk."""
    path = Path(tempfile.gettempdir()) / f"{write.__name__}-{n}{'.csv' if write is write_csv else '.parquet'}"
    if not path.exists():
        write(n, path)
        os.sync()
    return path


def _ours(path: Path) -> Callable[[], object]:
    return lambda: read_profiles([str(path)], Reading())


def read_parquet(scale: float) -> Work:
    path = written(write_parquet, sized(222_601, scale, 400))
    return Work(_ours(path), partial(pq.read_table, path))


def read_csv(scale: float) -> Work:
    path = written(write_csv, sized(20_000, scale, 400))
    types: dict[Hashable, str] = {**dict.fromkeys(METADATA, "str"), **dict.fromkeys(FEATURES, "float32")}
    return Work(_ours(path), lambda: pd.read_csv(path, dtype=types))


ROWS = (
    Row(
        "read-parquet",
        "reading of parquet, 222,601 x 384, 525 MB, first read",
        read_parquet,
        "pyarrow",
        within=1.3,
        files=True,
        once=True,
    ),
    Row(
        "read-csv",
        "reading of csv, 20,000 x 384, 84 MB, first read",
        read_csv,
        "pandas",
        within=1.5,
        files=True,
        once=True,
    ),
)
