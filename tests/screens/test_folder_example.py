"""A folder of images: README's commands run on the example that its picture shows, and real images are read."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from phenobench.cli import app
from phenobench.profiles import Profiles
from phenobench.results import read_result
from phenobench.screens.folder import load_folder
from tests.shared import shared

ROOT = Path(__file__).parents[2]
# The order of ch2 to ch5 is not known there; what is tested here does not depend on it.
LINCS_CHANNELS = dict(enumerate(("DNA", "RNA", "ER", "AGP", "Mito"), start=1))
LINCS_WELLS = {"r01c01": "A01", "r10c18": "J18", "r01c13": "A13", "r16c13": "P13"}


def run(command: str) -> str:
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
    return done.stdout


def section(title: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(text: str) -> list[str]:
    """The commands of the blocks of a text, each in one line and without its comment."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", "")
    return [shlex.join(shlex.split(line, comments=True)) for line in blocks.splitlines() if line.strip()]


@pytest.fixture(name="example")
def folder_of_the_picture() -> Path:
    specification = importlib.util.spec_from_file_location("docs_folder", ROOT / "docs/folder.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.make_folder(Path("my_plates"))
    return Path("my_plates")


def test_the_commands_of_the_readme_run_on_the_folder_of_the_picture(example: Path) -> None:
    lines = commands(section("Score a model on your own images"))
    assert [line.split()[1] for line in lines[:3]] == ["screen", "run", "embed"]
    for line in lines:
        run(line)
    screen = load_folder(example)
    assert screen.notes == ("illumination functions were divided out",)
    assert screen.dropped == {}
    # Several sites, 16 bit.
    assert screen.images is not None
    fields = list(screen.images(screen.wells.iloc[:1]))
    assert [field.site for field in fields] == ["1", "2"]
    assert {field.pixels.dtype for field in fields} == {np.dtype(np.uint16)}
    assert Path("my_plates.png").read_bytes().startswith(b"\x89PNG")
    assert len(Profiles.read("embeddings")) == len(screen.wells) == 20
    paths = sorted(Path("results").rglob("*.json"))
    assert {path.parts[2] for path in paths} == {"pixel-statistics", "cwa-msn@random"}
    result = read_result(next(path for path in paths if "pixel-statistics" in path.parts))
    assert "illumination functions were divided out" in result.warnings
    assert result.screen.n_wells == 20


def test_the_columns_of_the_readme_are_those_that_are_read() -> None:
    text = section("Score a model on your own images")
    header = next(line for line in text.splitlines() if line.startswith("| Metadata_Plate"))
    named = [name.strip() for name in header.strip("|").split("|")]
    assert named[:5] == ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "channel", "path"]
    assert (ROOT / "docs/folder.png").stat().st_size < 300_000


def test_real_wells_of_four_plates_go_from_png_to_scores(tmp_path: Path) -> None:
    """LINCS, A549: two compounds and two DMSO wells on each of four plates, one site, 8 bit, five channels."""
    folder = shared("data", "images_lincs_a549")
    names = pd.read_csv(folder / "C-7161-01-LM6-014.txt", sep="\t", dtype=str).set_index("well_position")
    rows = []
    for path in sorted((folder / "images").glob("*/*.png")):
        place, channel = re.fullmatch(r"(r\d\dc\d\d)f05p01-ch(\d)sk1fk1fl1", path.stem).groups()  # type: ignore[union-attr]
        sample = names["broad_sample"].get(LINCS_WELLS[place])
        rows.append(
            {
                "Metadata_Plate": path.parent.name,
                "Metadata_Well": LINCS_WELLS[place],
                "Metadata_Site": "5",
                "channel": LINCS_CHANNELS[int(channel)],
                "path": str(path),
                "Metadata_Perturbation": sample if isinstance(sample, str) and sample != "DMSO" else "DMSO",
                "Metadata_pert_type": "trt" if isinstance(sample, str) and sample != "DMSO" else "negcon",
            }
        )
    (tmp_path / "lincs").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "lincs" / "screen.csv", index=False)
    run(
        f"phenobench run --screen {tmp_path}/lincs --model pixel-statistics --task replicate-retrieval "
        "--variant against-controls --normalization center"
    )
    (path,) = Path("results/lincs/pixel-statistics/center").glob("*.json")
    result = read_result(path)
    assert (result.screen.n_wells, result.screen.n_plates, result.screen.n_perturbations) == (16, 4, 2)
    assert result.screen.dropped == {}
    assert result.scores[0].n == 2
    # Two compounds that change cells are found among DMSO wells.
    assert result.scores[0].value > result.scores[0].chance


def test_real_16_bit_tiff_comes_as_it_is_and_a_damaged_copy_of_it_alone_is_left_out(tmp_path: Path) -> None:
    """CPJUMP1, U2OS: one field of DMSO and one of a compound, LZW."""
    folder = shared("data", "images_cpjump1")
    channels = ("Mito", "AGP", "RNA", "ER", "DNA")
    rows = []
    for name, well, kind in (("DMSO", "D14", "negcon"), ("FK-866", "D08", "trt")):
        for path in sorted((folder / name).glob("*.tiff")):
            copy = tmp_path / "pilot" / name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            number = int(re.search(r"ch(\d)", path.name).group(1))  # type: ignore[union-attr]
            rows.append(
                {
                    "Metadata_Plate": "P1",
                    "Metadata_Well": well,
                    "Metadata_Site": "5",
                    "channel": channels[number - 1],
                    "path": f"{name}/{path.name}",
                    "Metadata_Perturbation": name,
                    "Metadata_pert_type": kind,
                }
            )
    pd.DataFrame(rows).to_csv(tmp_path / "pilot" / "screen.csv", index=False)
    screen = load_folder(tmp_path / "pilot")
    assert screen.images is not None
    assert screen.channels == tuple(sorted(channels))
    first, second = screen.images(screen.wells)
    assert first.pixels.shape == second.pixels.shape == (5, 1080, 1080)
    assert first.pixels.dtype == np.uint16
    (dna,) = (folder / "FK-866").glob("*ch5*.tiff")
    np.testing.assert_array_equal(first.pixels[screen.channels.index("DNA")], tifffile.imread(dna))
    damaged = tmp_path / "pilot" / "FK-866" / dna.name
    damaged.write_bytes(damaged.read_bytes()[:200_000])
    first, second = screen.images(screen.wells)
    assert f"{damaged} cannot be decoded" in str(first.damage)
    assert second.damage is None
