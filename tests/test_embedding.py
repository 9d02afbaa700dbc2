"""Images to profiles, plate by plate: order, what is dropped, and going on after any end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.embedding import embed
from phenobench.embedding import sites as sites_module
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.profiles import Profiles
from phenobench.results import read_result
from phenobench.screens import Screen, SiteImage
from tests.folders import make_folder

PLATES = ("P1", "P 2", "P_2", "../P3")
WELLS = ("A01", "A02", "B01", "B10")
SMALL_CARD = """
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
sixteen_bit = "full-range"
[network]
image = 32
patch = 16
width = 24
depth = 1
heads = 3
"""


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


def toy_screen(without: Sequence[int] = (), damaged: Sequence[tuple[int, int]] = ()) -> Screen:
    """4 plates of 4 wells of 2 sites; names of plates that a file cannot have, or that look alike in one.

    ``damaged`` are wells and sites.
    """
    wells = pd.DataFrame(
        [{"Metadata_Plate": plate, "Metadata_Well": well} for plate in sorted(PLATES) for well in WELLS]
    )

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for row in rows.index.tolist():
            if row not in without:
                for site in range(2):
                    if (row, site) in damaged:
                        yield SiteImage(row, str(site), np.empty((2, 0, 0), np.uint8), f"/data/{row}.tif is cut off")
                    else:
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


def test_a_damaged_site_is_left_out_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    screen = toy_screen(damaged=[(5, 1)])
    for _ in range(2):  # made, then read
        found = embed(screen, Means(), tmp_path / "out", "key")
        pd.testing.assert_frame_equal(found.metadata, screen.wells)
        np.testing.assert_allclose(found.features[5], pixels(5, 0).mean(axis=(1, 2)), rtol=1e-6)
        assert dict(found.dropped) == {"asked for": 3}
        name = screen.wells["Metadata_Plate"].iloc[5]
        assert found.notes == (
            f"plate {name}: 1 of 8 sites have an image that cannot be used and were left out (well A02 site 1)",
        )
    assert caplog.text.count("/data/5.tif is cut off") == 1


def test_a_well_that_loses_all_its_sites_is_dropped_for_that_reason(tmp_path: Path) -> None:
    wells = pd.DataFrame([{"Metadata_Plate": "P1", "Metadata_Well": f"A{number:02d}"} for number in range(1, 25)])

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for row in rows.index.tolist():
            if row == 3:
                yield SiteImage(row, "0", np.empty((2, 0, 0), np.uint8), "cut off")
            elif row != 9:
                yield SiteImage(row, "0", pixels(row, 0))

    screen = Screen("toy", "", "", wells, ("DNA", "ER"), images, "hash")
    for _ in range(2):
        found = embed(screen, Means(), tmp_path / "out", "key")
        assert dict(found.dropped) == {"damaged images": 1, "no image": 1}
        assert len(found) == 22
        assert found.left_out is not None
        assert found.left_out["Metadata_Well"].tolist() == ["A04", "A10"]


@pytest.mark.parametrize("damaged", [[(0, 0), (2, 1)], [(row, site) for row in range(4) for site in range(2)]])
def test_a_plate_with_too_many_damaged_sites_stops_the_run_in_one_sentence(
    tmp_path: Path, damaged: list[tuple[int, int]]
) -> None:
    with pytest.raises(
        InputError, match=rf"{len(damaged)} of 8 sites cannot be used.*/data/0\.tif is cut off"
    ) as caught:
        embed(toy_screen(damaged=damaged), Means(), tmp_path / "out", "key")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_bytes_do_not_depend_on_the_number_of_threads_nor_on_who_is_ready_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(sites_module, "available_cores", lambda: 1)
    embed(toy_screen(), Means(), tmp_path / "one", "key")
    monkeypatch.setattr(sites_module, "available_cores", lambda: cores)
    screen, rng = toy_screen(), np.random.default_rng(4)
    pause, inner = threading.Event(), screen.images
    assert inner is not None

    def uneven(rows: pd.DataFrame) -> Iterator[SiteImage]:
        pause.wait(rng.uniform(0, 0.02))
        yield from inner(rows)

    embed(replace(screen, images=uneven), Means(), tmp_path / "many", "key")
    assert files(tmp_path / "many") == files(tmp_path / "one")


def test_a_plate_that_another_run_has_made_meanwhile_is_kept_or_refused(tmp_path: Path) -> None:
    folder, screen = tmp_path / "out", toy_screen()
    embed(screen, Means(), tmp_path / "theirs", "key")
    embed(screen, Means(), tmp_path / "strange", "another")

    class Late(Means):
        """While it embeds the first plate, the other run writes all of them."""

        def __init__(self, other: Path) -> None:
            super().__init__()
            self.other = other

        def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
            if self.calls == 0:
                shutil.copytree(self.other, folder)
            return super().embed_crops(crops, channels)

    embed(screen, Late(tmp_path / "theirs"), folder, "key")
    assert files(folder) == files(tmp_path / "theirs")
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="made from other weights, images or settings"):
        embed(screen, Late(tmp_path / "strange"), folder, "key")
    assert files(folder) == files(tmp_path / "strange")


def test_a_full_disk_costs_the_plate_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, screen = tmp_path / "out", toy_screen()
    embed(screen, Means(), tmp_path / "whole", "key")
    write, plates = pq.write_table, iter(range(4))

    def full(table: object, where: Path, **options: object) -> None:
        if next(plates) == 2:
            where.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        write(table, where, **options)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(InputError, match="No space left on device; choose another folder or free some space"):
        embed(screen, Means(), folder, "key")
    assert len(files(folder)) == 2
    monkeypatch.undo()
    rest = Means()
    embed(screen, rest, folder, "key")
    assert rest.sites == 16
    assert files(folder) == files(tmp_path / "whole")


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


def test_sigterm_keeps_whole_plates_and_says_so(tmp_path: Path) -> None:
    plates = tuple(f"P{number}" for number in range(8))
    folder = make_folder(tmp_path / "mine", plates=plates)
    command = ["embed", "--model", "pixel-statistics", "--screen", str(folder), "--out"]
    assert phenobench(*command, tmp_path / "whole").exit_code == 0
    out = tmp_path / "broken"
    process = subprocess.Popen(
        [sys.executable, "-m", "phenobench", *command, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while process.poll() is None and (not out.is_dir() or not files(out)):
        time.sleep(0.0005)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate()
    assert process.returncode == 143
    assert stdout == b""
    assert stderr == b"phenobench: ended by SIGTERM; what is done is kept, and the same command goes on\n"
    # Whole plates and nothing else.
    assert files(out).items() < files(tmp_path / "whole").items()
    assert phenobench(*command, out).exit_code == 0
    assert files(out) == files(tmp_path / "whole")


def test_two_runs_on_one_folder_at_once_are_both_fine(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "mine", plates=("P1", "P2", "P3", "P4"))
    command = ["embed", "--model", "pixel-statistics", "--screen", str(folder), "--out"]
    assert phenobench(*command, tmp_path / "whole").exit_code == 0
    out = tmp_path / "out"
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "phenobench", *command, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert files(out) == files(tmp_path / "whole")


def test_a_damaged_file_among_many_does_not_stop_a_command_and_too_many_do(tmp_path: Path) -> None:
    folder, out = make_folder(tmp_path / "mine"), tmp_path / "out"
    command = ("embed", "--model", "pixel-statistics", "--screen", folder, "--out")
    path = folder / "P1_A2_2_ER.png"
    path.write_bytes(path.read_bytes()[:300])
    done = phenobench(*command, out)
    assert done.exit_code == 0, done.output
    note = "plate P1: 1 of 8 sites have an image that cannot be used and were left out (well A02 site 2)"
    assert note in done.stdout
    assert Profiles.read(out / "P1.parquet").notes == (note,)
    for path in folder.glob("P2_*_ER.png"):
        path.write_bytes(b"")
    refused = phenobench(*command, tmp_path / "another")
    assert refused.exit_code == 2
    last = refused.stderr.splitlines()[-1]
    assert "plate P2: the images of 8 of 8 sites cannot be used" in last
    assert [file.name for file in (tmp_path / "another").iterdir()] == ["P1.parquet"]


def percentile_card(folder: Path) -> Path:
    """A folder of cards with a small random network that takes 16-bit images by their plate's percentiles."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "cwa-msn.toml").write_text(
        SMALL_CARD.replace('sixteen_bit = "full-range"', 'sixteen_bit = "plate-percentiles"')
    )
    return folder


def test_a_plates_percentiles_are_what_the_model_sees_and_the_result_says_so(tmp_path: Path) -> None:
    wide, narrow = make_folder(tmp_path / "wide"), tmp_path / "narrow"
    table = pd.read_csv(wide / "screen.csv", dtype=str)
    shutil.copytree(wide, narrow)
    for (_, _), rows in table.groupby(["Metadata_Plate", "channel"]):
        images = {name: imagecodecs.png_decode((wide / name).read_bytes()) for name in rows["path"]}
        low, high = np.percentile(np.stack([*images.values()]), [0.1, 99.9], method="inverted_cdf")
        for name, image in images.items():
            scaled = np.clip(np.rint((image.astype(np.float64) - low) * 255 / (high - low)), 0, 255)
            (narrow / name).write_bytes(imagecodecs.png_encode(scaled.astype(np.uint8)))
    cards = percentile_card(tmp_path / "cards")
    options = ("--model", "cwa-msn", "--cards", cards, "--weights", "random", "--device", "cpu")
    for screen in (wide, narrow):
        done = phenobench("embed", "--screen", screen, *options, "--out", tmp_path / f"{screen.name}-out")
        assert done.exit_code == 0, done.output
    found, expected = (Profiles.read(tmp_path / f"{name}-out") for name in ("wide", "narrow"))
    np.testing.assert_array_equal(found.features, expected.features)

    for screen in (wide, narrow):
        task = ("--task", "replicate-retrieval", "--normalization", "none", "--results", tmp_path / "results")
        done = phenobench("run", "--screen", screen, *options, *task)
        assert done.exit_code == 0, done.output
    model = read_result(tmp_path / "results/wide/cwa-msn@random/none/replicate-retrieval.json").model
    rule = {"rule": "plate-percentiles", "low": 0.1, "high": 99.9, "fitted_on": "all sites", "by": "plate"}
    assert model.sixteen_bit == rule
    # A result of 8-bit images is what it was before there was a rule to tell.
    eight = (tmp_path / "results/narrow/cwa-msn@random/none/replicate-retrieval.json").read_text()
    assert "sixteen_bit" not in eight


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
    (cards / "models" / "cwa-msn.toml").write_text(SMALL_CARD)
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
