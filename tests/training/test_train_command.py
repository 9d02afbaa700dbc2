"""``phenobench train`` on a folder of images, as a user has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.models.cwa_msn import read_checkpoint
from tests.folders import CHANNELS, edit, make_folder
from tests.training.screens import make_config


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", "--model", "cwa-msn", *map(str, arguments)])


def test_a_folder_of_sixteen_bit_images_gives_weights_with_its_channels(tmp_path: Path) -> None:
    folder, config = make_folder(tmp_path / "images"), make_config(tmp_path, steps="steps = 2")
    told = ("--screen", folder, "--out", tmp_path / "out", "--config", config)
    done = train(*told)
    assert done.exit_code == 0, done.output
    weights = tmp_path / "out" / "weights.safetensors"
    assert done.output.strip().endswith(str(weights))
    assert set(read_checkpoint(weights).channels or ()) == set(CHANNELS)
    assert train(*told).exit_code == 2
    assert train(*told, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--pairs", "same-wel"), "unknown --pairs 'same-wel'; did you mean same-well or cross-well?"),
        (("--config", "papr.toml"), "papr.toml cannot be read as TOML"),
        (("--config", "demo"), "below the views of 256"),
        (("--resume",), "has no state.pt to resume from"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    done = train("--screen", make_folder(tmp_path / "images"), "--out", tmp_path / "out", *more)
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_folder_in_which_no_perturbation_has_two_wells_is_refused(tmp_path: Path) -> None:
    folder, config = make_folder(tmp_path / "images", plates=("P1",)), make_config(tmp_path, steps="steps = 1")
    told = ("--screen", folder, "--out", tmp_path / "out", "--config", config)
    done = train(*told)
    assert done.exit_code == 2
    assert "no perturbation of images has two wells" in done.output
    assert train(*told, "--pairs", "same-well").exit_code == 0


def test_an_image_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images")
    edit(folder, 3, path="gone.png")
    done = train("--screen", folder, "--out", tmp_path / "out", "--config", make_config(tmp_path))
    assert done.exit_code == 2
    assert "gone.png" in done.output
