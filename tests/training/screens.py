"""A small screen in memory, and a configuration that trains on it in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenobench.screens import Screen, SiteImage
from phenobench.training.cwa_msn import CwaMsnConfig

CHANNELS = ("DNA", "ER")

CONFIG = """
seed = 3
compute = "float32"
[optimisation]
steps = 6
batch = 4
lr_start = 1e-4
lr_peak = 1e-2
lr_final = 1e-4
warmup = 0.3
decay_start = 0.04
decay_final = 0.4
clip = 3.0
[network]
image = 32
patch = 8
width = 8
depth = 1
heads = 2
head_hidden = 8
head_out = 4
[[anchors]]
count = 2
size = 32
keep = 0.5
[[anchors]]
size = 16
[target]
size = 32
keep = 0.8
[pairs]
same_well_start = 0.5
same_well_end = 0.5
[loss]
prototypes = 6
[running]
device = "cpu"
log_steps = 1
save_steps = 2
"""


def make_config(folder: Path, **changes: str) -> Path:
    """``CONFIG`` in a file, with some of its lines replaced: ``steps="steps = 8"``."""
    lines = CONFIG.splitlines()
    for name, line in changes.items():
        lines = [line if text.startswith(f"{name} =") else text for text in lines]
    path = folder / "config.toml"
    path.write_text("\n".join(lines))
    return path


def parsed(**changes: Any) -> CwaMsnConfig:
    """``CONFIG``, with some keys of its first level changed."""
    import tomllib

    return CwaMsnConfig.model_validate({**tomllib.loads(CONFIG), **changes})


def make_wells(batches: int = 2, plates: int = 2, copies: int = 1, perturbations: int = 5) -> pd.DataFrame:
    """Each perturbation ``copies`` times on each plate, and two controls."""
    rows = []
    for batch in range(batches):
        for plate in range(plates):
            content = [f"gene{i}" for i in range(perturbations)] * copies + ["control"] * 2
            rows += [
                {
                    "Metadata_Batch": f"B{batch}",
                    "Metadata_Plate": f"P{batch}{plate}",
                    "Metadata_Well": f"A{number + 1:02d}",
                    "Metadata_Perturbation": name,
                    "Metadata_pert_type": "negcon" if name == "control" else "trt",
                }
                for number, name in enumerate(content)
            ]
    return pd.DataFrame(rows)


def make_screen(wells: pd.DataFrame | None = None, *, size: int = 40, dtype: type = np.uint8) -> Screen:
    """Two fields a well of noise that follows from the well's row, of one in five brightnesses."""
    table = make_wells() if wells is None else wells

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for row in rows.index.tolist():
            for site in range(2):
                rng = np.random.default_rng((row, site))
                high = np.iinfo(dtype).max // (1 + row % 5)
                yield SiteImage(row, str(site), rng.integers(0, high, (len(CHANNELS), size, size)).astype(dtype))

    return Screen("made", "", "", table, channels=CHANNELS, images=images, images_sha256="made")
