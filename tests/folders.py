"""A small folder of images, as a user would bring it."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd

PLATES = ("P1", "P2")
CHANNELS = ("Mito", "DNA", "ER")
# Well, perturbation, type: the first of the controls is spelled as some instruments do.
WELLS = (("a1", "DMSO", "negcon"), ("A2", "DMSO", "negcon"), ("B1", "one", "trt"), ("B2", "two", "trt"))
SITES = ("1", "2")


def make_folder(folder: Path, *, plates: tuple[str, ...] = PLATES, dtype: type[np.unsignedinteger] = np.uint16) -> Path:
    """2 plates x 4 wells x 2 sites x 3 channels of 64 x 64, and their ``screen.csv``."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    rows = []
    for plate in plates:
        for number, (well, perturbation, kind) in enumerate(WELLS):
            for site in SITES:
                for channel in CHANNELS:
                    name = f"{plate}_{well}_{site}_{channel}.png"
                    high = np.iinfo(dtype).max // (5 - number)
                    pixels = rng.integers(0, high, (64, 64)).astype(dtype)
                    (folder / name).write_bytes(imagecodecs.png_encode(pixels))
                    rows.append(
                        {
                            "Metadata_Plate": plate,
                            "Metadata_Well": well,
                            "Metadata_Site": site,
                            "channel": channel,
                            "path": name,
                            "Metadata_Perturbation": perturbation,
                            "Metadata_pert_type": kind,
                        }
                    )
    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)
    return folder


def edit(folder: Path, row: int, **values: str) -> None:
    """Change some cells of a row (from 0) of ``screen.csv``."""
    table = pd.read_csv(folder / "screen.csv", dtype=str)
    for name, value in values.items():
        table.loc[row, name] = value
    table.to_csv(folder / "screen.csv", index=False)
