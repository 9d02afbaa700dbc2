"""Draws ``folder.png``: a folder of images, its ``screen.csv``, what they look like, and the command that scores them.

``python docs/folder.py`` makes such a folder with the simulated screen's renderer, runs the commands on it and draws
what they give, so that the picture shows what happens and nothing else.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import tifffile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

import phenobench
from phenobench.cards import load
from phenobench.cli import app
from phenobench.screens.rendering import CHANNELS
from phenobench.screens.simulated import SimulatedCard, layout, render_well

FOLDER = Path("my_plates")
_PREVIEW = "phenobench screen preview my_plates/ --out my_plates.png"
_SCORE = """phenobench run --screen my_plates/ --model pixel-statistics \\
      --task replicate-retrieval --variant against-controls --normalization center"""
# A plate of each batch of the simulated screen, some perturbations that are on both, and controls.
_PLATES = {"batch1-plate1": "P1", "batch2-plate1": "P2"}
_PERTURBATIONS, _CONTROLS = 6, 4
_BRIGHTER = 200  # from 8 to 16 bit
_MONOSPACED = {"family": "DejaVu Sans Mono", "va": "top", "ha": "left", "linespacing": 1.25}


def make_folder(folder: Path) -> None:
    """Two plates of ten wells, two sites each, as 16-bit TIFF, with illumination functions and ``screen.csv``."""
    card = load(Path(phenobench.__file__).parent / "screens/simulated.toml", SimulatedCard)
    wells = layout(card)
    wells = wells[wells["Metadata_Plate"].isin(_PLATES)]
    treated = wells["Metadata_pert_type"] == "trt"
    chosen = sorted(wells.loc[treated, "Metadata_Perturbation"].unique())[:: 180 // _PERTURBATIONS][:_PERTURBATIONS]
    controls = wells[wells["Metadata_pert_type"] == "negcon"].groupby("Metadata_Plate").head(_CONTROLS)
    wells = pd.concat([controls, wells[wells["Metadata_Perturbation"].isin(chosen)]])
    rows = []
    for plate, of_plate in wells.sort_values(["Metadata_Plate", "Metadata_Well"]).groupby("Metadata_Plate"):
        name = _PLATES[str(plate)]
        (folder / "images" / name).mkdir(parents=True)
        fields = {well["Metadata_Well"]: render_well(card, well) for well in of_plate.to_dict("records")}
        for number, channel in enumerate(CHANNELS):
            mean = np.mean([field[number] for of_well in fields.values() for field in of_well], axis=0)
            function = gaussian_filter(mean, 40)
            illumination = f"illum/{name}_{channel}.npy"
            (folder / "illum").mkdir(exist_ok=True)
            np.save(folder / illumination, function / function.mean())
            for well in of_plate.to_dict("records"):
                for site, field in enumerate(fields[well["Metadata_Well"]], start=1):
                    path = f"images/{name}/{well['Metadata_Well']}_s{site}_{channel}.tif"
                    tifffile.imwrite(folder / path, field[number].astype(np.uint16) * _BRIGHTER, compression="deflate")
                    rows.append(
                        {
                            "Metadata_Plate": name,
                            "Metadata_Well": well["Metadata_Well"],
                            "Metadata_Site": site,
                            "channel": channel,
                            "path": path,
                            "illumination": illumination,
                            "Metadata_Perturbation": well["Metadata_Perturbation"],
                            "Metadata_pert_type": well["Metadata_pert_type"],
                        }
                    )
    table = pd.DataFrame(rows).sort_values(["Metadata_Plate", "Metadata_Well", "Metadata_Site"], kind="stable")
    table.to_csv(folder / "screen.csv", index=False)


def run(command: str) -> str:
    """What a command prints."""
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, shlex.split(command.replace("\\\n", ""))[1:])
    if done.exit_code:
        raise SystemExit(f"{command}\n{done.output}")
    return done.stdout


def draw(out: Path) -> None:
    """Make the folder in the current one, run the commands and draw."""
    make_folder(FOLDER)
    preview, score = (f"$ {command}\n{run(command)}" for command in (_PREVIEW, _SCORE))
    table = pd.read_csv(FOLDER / "screen.csv", dtype=str)
    first, control = table[table["Metadata_pert_type"] == "trt"], table[table["Metadata_pert_type"] == "negcon"]
    rows = pd.concat([first.iloc[[0, 1]], first[first["Metadata_Site"] == "2"].iloc[[0]], control.iloc[[0, 1]]])
    figure = Figure(figsize=(11, 7.4), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.975, _tree(table), fontsize=8.5, **_MONOSPACED)
    figure.text(0.22, 0.975, f"screen.csv\n\n{rows.to_string(index=False)}\n...", fontsize=6.7, **_MONOSPACED)
    figure.text(0.22, 0.79, preview, fontsize=8.5, **_MONOSPACED)
    axes = figure.add_axes((0.22, 0.27, 0.76, 0.465), anchor="NW")
    axes.imshow(imread("my_plates.png"))
    axes.set_axis_off()
    figure.text(0.02, 0.245, score, fontsize=8.5, **_MONOSPACED)
    figure.savefig("drawn.png", dpi=110, metadata={"Software": ""})
    # Few colours make a small file.
    Image.open("drawn.png").convert("RGB").quantize(96).save(out, optimize=True)


def _tree(table: pd.DataFrame) -> str:
    lines = [f"{FOLDER}/", "  screen.csv", "  images/"]
    for plate, of_plate in table.groupby("Metadata_Plate"):
        names = [Path(path).name for path in of_plate["path"]]
        lines += [f"    {plate}/", *(f"      {name}" for name in names[:3]), f"      ... {len(names)} files"]
    functions = sorted(set(table["illumination"]))
    return "\n".join([*lines, "  illum/", f"    {Path(functions[0]).name}", f"    ... {len(functions)} files"])


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".png").resolve()
    with TemporaryDirectory() as scratch:
        os.chdir(scratch)
        os.environ["PHENOBENCH_CACHE"] = scratch
        draw(target)
    sys.stdout.write(f"{target}\n")
