"""What goes wrong with a screen's images, through the command line: one sentence, exit code 2, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from phenobench.cli import app
from tests.folders import make_folder

_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv = ["phenobench", *sys.argv[2:]]
from phenobench.cli import app
app()
"""


@pytest.fixture(name="folder")
def image_folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "mine")


def refused(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 2, done.output
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("phenobench: ")]
    assert "Traceback" not in done.output
    return sentence


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_missing_file_of_a_channel(folder: Path) -> None:
    (folder / "P2_B1_2_DNA.png").unlink()
    said = refused("embed", "--screen", folder, "--model", "pixel-statistics", "--out", "out")
    assert "P2_B1_2_DNA.png is not there (1 such files); mend the path column" in said
    said = refused("run", "--screen", folder, "--model", "pixel-statistics", "--task", "replicate-retrieval")
    assert "P2_B1_2_DNA.png is not there" in said
    assert not Path("out").exists()
    assert not Path("results").exists()


def test_a_plate_without_controls_keeps_its_embeddings(folder: Path) -> None:
    table = pd.read_csv(folder / "screen.csv", dtype=str)
    table.loc[table["Metadata_Plate"] == "P2", "Metadata_pert_type"] = "trt"
    table.to_csv(folder / "screen.csv", index=False)
    run = ("run", "--screen", folder, "--model", "pixel-statistics", "--task", "replicate-retrieval")
    said = refused(*run, "--variant", "against-all", "--normalization", "center")
    assert "plate P2 has 0 negative controls and needs at least 2; name more with --negcon" in said
    assert not list(Path("results").rglob("*"))
    kept = files(Path(os.environ["PHENOBENCH_CACHE"]))
    assert {Path(name).name for name in kept if name.endswith(".parquet")} == {"P1.parquet", "P2.parquet"}
    done = CliRunner().invoke(app, [*map(str, run), "--variant", "against-all", "--normalization", "none"])
    assert done.exit_code == 0, done.output
    assert files(Path(os.environ["PHENOBENCH_CACHE"])).items() >= kept.items()


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_keeps_the_plates_that_are_whole_and_the_rest_follows(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files, which the first plate keeps and the second, with more wells, does not."""
    table = pd.read_csv(folder / "screen.csv", dtype=str)
    second = table[(table["Metadata_Plate"] == "P2") & (table["Metadata_Well"] == "B1")]
    more = [second.assign(Metadata_Well=f"{row}{column}") for row in "CDEFG" for column in range(1, 13)]
    pd.concat([table, *more]).to_csv(folder / "screen.csv", index=False)
    embed = ["embed", "--screen", str(folder), "--model", "pixel-statistics", "--out"]

    def limited(size: int, out: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PHENOBENCH_CACHE": str(tmp_path / f"cache of {out.name}")}
        command = [sys.executable, "-c", _LIMITED, str(size), *embed, str(out)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)

    assert limited(1 << 30, tmp_path / "whole").returncode == 0
    whole = files(tmp_path / "whole")
    sizes = {
        plate: [path.stat().st_size for path in tmp_path.rglob(f"{plate}.*") if path.suffix in (".parquet", ".npz")]
        for plate in ("P1", "P2")
    }
    limit = (max(sizes["P1"]) + min(sizes["P2"])) // 2
    assert max(sizes["P1"]) < limit < min(sizes["P2"])
    done = limited(limit, tmp_path / "cut")
    assert done.returncode == 2, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("phenobench: ")]
    assert "cannot write" in said
    assert "P2." in said
    assert "free some space" in said
    assert "Traceback" not in done.stderr
    assert files(tmp_path / "cut") == {"P1.parquet": whole["P1.parquet"]}
    assert not [name for name in files(tmp_path) if name.endswith(".tmp")]
    assert limited(1 << 30, tmp_path / "cut").returncode == 0
    assert files(tmp_path / "cut") == whole
