"""Images to profiles, plate by plate: order, what is dropped, and going on after any end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.embedding import embed
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.profiles import Profiles
from phenobench.results import read_result
from phenobench.screens import Screen, SiteImage
from tests.folders import make_folder

PLATES = ("P1", "P 2", "P_2", "../P3")
WELLS = ("A01", "A02", "B01", "B10")


class Means(ImageAdapter):
    """The mean of each channel; it counts its calls and may be interrupted at one."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.id = "means"
        self.calls = 0
        self.sites = 0
        self._interrupt_at = interrupt_at

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        self.calls += 1
        if self.calls == self._interrupt_at:
            raise KeyboardInterrupt
        self.sites += len(crops)
        return crops.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)


def pixels(row: int, site: int) -> np.ndarray:
    # The sizes of a well's sites differ, so that each is a batch of its own.
    return np.random.default_rng([row, site]).integers(0, 255, (2, 16 + site, 16), dtype=np.uint8)


def toy_screen(without: Sequence[int] = ()) -> Screen:
    """4 plates of 4 wells of 2 sites; names of plates that a file cannot have, or that look alike in one."""
    wells = pd.DataFrame(
        [{"Metadata_Plate": plate, "Metadata_Well": well} for plate in sorted(PLATES) for well in WELLS]
    )

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for row in rows.index.tolist():
            if row not in without:
                for site in range(2):
                    yield SiteImage(row, str(site), pixels(row, site))

    return Screen("toy", "", "", wells, ("DNA", "ER"), images, "hash", dropped={"asked for": 3})


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))}


def test_profiles_come_in_the_order_of_the_wells_each_the_mean_of_its_sites(tmp_path: Path) -> None:
    screen, told = toy_screen(), list[tuple[int, int]]()
    found = embed(screen, Means(), tmp_path / "out", "key", lambda done, total: told.append((done, total)))
    pd.testing.assert_frame_equal(found.metadata, screen.wells)
    expected = [np.mean([pixels(row, site).mean(axis=(1, 2)) for site in range(2)], axis=0) for row in range(16)]
    np.testing.assert_allclose(found.features, expected, rtol=1e-6)
    assert found.key == "key"
    assert dict(found.dropped) == {"asked for": 3}
    assert told == sorted(told)
    assert told[-1] == (16, 16)


def test_the_order_is_that_of_the_wells_whatever_it_is(tmp_path: Path) -> None:
    screen = toy_screen()
    order = np.random.default_rng(0).permutation(16)
    mixed = Screen("toy", "", "", screen.wells.iloc[order].reset_index(drop=True), ("DNA", "ER"), screen.images, "hash")
    for _ in range(2):  # made, then read
        found = embed(mixed, Means(), tmp_path / "out", "key")
        pd.testing.assert_frame_equal(found.metadata, mixed.wells)
        for row in (0, 7, 15):
            expected = np.mean([pixels(row, site).mean(axis=(1, 2)) for site in range(2)], axis=0)
            np.testing.assert_allclose(found.features[row], expected, rtol=1e-6)


def test_one_file_a_plate_and_nothing_else(tmp_path: Path) -> None:
    embed(toy_screen(), Means(), tmp_path / "out", "key")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    made = sorted((tmp_path / "out").iterdir())
    assert len(made) == 4
    assert "P1.parquet" in {path.name for path in made}
    read = [Profiles.read(path) for path in made]
    assert {tuple(profiles.role("plate").unique()) for profiles in read} == {(plate,) for plate in PLATES}
    assert {profiles.key for profiles in read} == {"key"}


def test_wells_without_an_image_are_left_out_and_counted(tmp_path: Path) -> None:
    screen = toy_screen(without=[0, 6, 7])
    for _ in range(2):
        found = embed(screen, Means(), tmp_path / "out", "key")
        assert dict(found.dropped) == {"asked for": 3, "no image": 3}
        kept = [row for row in range(16) if row not in (0, 6, 7)]
        pd.testing.assert_frame_equal(found.metadata, screen.wells.iloc[kept].reset_index(drop=True))


def test_a_plate_without_any_image_and_a_screen_without_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no well of this plate has an image"):
        embed(toy_screen(without=range(4, 8)), Means(), tmp_path / "out", "key")
    with pytest.raises(InputError, match="toy has no images"):
        embed(Screen("toy", "", "", toy_screen().wells), Means(), tmp_path / "out", "key")


def test_what_is_there_is_not_embedded_again(tmp_path: Path) -> None:
    folder, screen = tmp_path / "out", toy_screen()
    first = Means()
    made = embed(screen, first, folder, "key")
    assert first.sites == 32
    before = files(folder)

    again = Means()
    read = embed(screen, again, folder, "key")
    assert again.calls == 0
    assert files(folder) == before
    np.testing.assert_array_equal(read.features, made.features)
    assert read.feature_names == made.feature_names

    (folder / "P1.parquet").unlink()
    missing = Means()
    embed(screen, missing, folder, "key")
    assert missing.sites == 8
    assert files(folder) == before


def test_plates_of_another_key_are_refused_and_left(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    embed(toy_screen(), Means(), folder, "key")
    before = files(folder)
    with pytest.raises(InputError, match=r"made from other weights, images or settings; give another folder") as caught:
        embed(toy_screen(), Means(), folder, "another")
    assert "\n" not in str(caught.value)
    assert files(folder) == before


def test_a_plate_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    embed(toy_screen(), Means(), folder, "key")
    path = folder / "P1.parquet"
    for content in (b"", path.read_bytes()[:-100]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"P1\.parquet"):
            embed(toy_screen(), Means(), folder, "key")


def test_a_run_interrupted_within_a_plate_leaves_whole_plates_and_goes_on(tmp_path: Path) -> None:
    screen = toy_screen()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = embed(screen, Means(), whole, "key")
    with pytest.raises(KeyboardInterrupt):
        embed(screen, Means(interrupt_at=8 + 5), broken, "key")
    left = files(broken)
    assert len(left) == 1
    assert left.items() <= files(whole).items()

    rest = Means()
    found = embed(screen, rest, broken, "key")
    assert rest.sites == 24
    assert files(broken) == files(whole)
    np.testing.assert_array_equal(found.features, unbroken.features)


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_embed_writes_plates_and_refuses_other_images(tmp_path: Path) -> None:
    folder, out = make_folder(tmp_path / "mine"), tmp_path / "out"
    command = ("embed", "--model", "pixel-statistics", "--screen", folder, "--out", out)
    done = phenobench(*command)
    assert done.exit_code == 0, done.output
    assert sorted(files(out)) == ["P1.parquet", "P2.parquet"]
    profiles = Profiles.read(out)
    assert profiles.metadata["Metadata_Well"].tolist() == ["A01", "A02", "B01", "B02"] * 2
    assert f"8 wells, {profiles.features.shape[1]} features" in done.stdout

    path = folder / "P2_B1_1_DNA.png"
    path.write_bytes((folder / "P1_a1_1_DNA.png").read_bytes())
    refused = phenobench(*command)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "made from other weights, images or settings" in refused.stderr


def test_a_run_killed_at_any_moment_ends_with_the_bytes_of_an_unbroken_one(tmp_path: Path) -> None:
    plates = tuple(f"P{number}" for number in range(8))
    folder = make_folder(tmp_path / "mine", plates=plates)
    command = ["embed", "--model", "pixel-statistics", "--screen", str(folder), "--out"]
    assert phenobench(*command, tmp_path / "whole").exit_code == 0
    rng, out = np.random.default_rng(5), tmp_path / "broken"
    before = 0
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-m", "phenobench", *command, str(out)], stdout=subprocess.DEVNULL)
        # From the moment when it has begun to write more than there was.
        while process.poll() is None and (not out.is_dir() or len(files(out)) <= before):
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        process.wait()
        whole = {name: content for name, content in files(out).items() if name.endswith(".parquet")}
        assert whole.items() <= files(tmp_path / "whole").items()
        before = len(files(out))
    done = phenobench(*command, out)
    assert done.exit_code == 0, done.output
    made = {name: content for name, content in files(out).items() if name.endswith(".parquet")}
    assert made == files(tmp_path / "whole")


def test_a_folder_of_images_is_scored_with_one_command(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "mine")
    command = ("run", "--screen", folder, "--model", "pixel-statistics", "--task", "replicate-retrieval")
    done = phenobench(*command, "--normalization", "none")
    assert done.exit_code == 0, done.output
    path = Path("results/mine/pixel-statistics/none/replicate-retrieval.json")
    result = read_result(path)
    assert (result.screen.n_wells, result.screen.n_plates) == (8, 2)
    assert result.model.weights.kind == "official"
    path.unlink()
    assert phenobench(*command, "--normalization", "none").exit_code == 0
    again = read_result(path)
    assert again.scores == result.scores
    assert again.model == result.model


def test_random_weights_show_in_the_name_of_the_result(tmp_path: Path) -> None:
    folder, cards = make_folder(tmp_path / "mine", dtype=np.uint8), tmp_path / "cards"
    (cards / "models").mkdir(parents=True)
    (cards / "models" / "cwa-msn.toml").write_text(
        """
        id = "cwa-msn"
        title = "CWA-MSN"
        summary = "small, for a test"
        adapter = "phenobench.models.cwa_msn:CwaMsn"
        input = "images"
        status = "weights not published"
        trained = true
        revision = "test"
        licence = "none"
        crop = 32
        [network]
        image = 32
        patch = 16
        width = 24
        depth = 1
        heads = 3
        """
    )
    done = phenobench(
        *("run", "--screen", folder, "--model", "cwa-msn", "--cards", cards, "--weights", "random", "--device", "cpu"),
        *("--task", "replicate-retrieval", "--normalization", "none"),
    )
    assert done.exit_code == 0, done.output
    assert [path.name for path in Path("results/mine").iterdir()] == ["cwa-msn@random"]
    model = read_result(Path("results/mine/cwa-msn@random/none/replicate-retrieval.json")).model
    assert model.weights.kind == "random"
    assert len(model.weights.sha256) == 64
    assert model.n_features == 24
