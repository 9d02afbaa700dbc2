"""A folder of one's own images: what is read, what fixes its hash, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.images import read_image
from phenobench.reading import Reading
from phenobench.screens import Screen, SiteImage, load_screen
from phenobench.screens.folder import load_folder
from tests.folders import CHANNELS, PLATES, SITES, edit, make_folder


@pytest.fixture(name="folder")
def image_folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "mine")


def fields(screen: Screen, rows: pd.DataFrame | None = None) -> list[SiteImage]:
    assert screen.images is not None
    return list(screen.images(screen.wells if rows is None else rows))


def rewrite(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / "screen.csv"
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        fields(load_folder(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wells_are_normalized_and_sorted_with_their_labels(folder: Path) -> None:
    screen = load_screen(str(folder))
    assert screen.id == "mine"
    assert screen.channels == tuple(sorted(CHANNELS))
    places = screen.wells[["Metadata_Plate", "Metadata_Well"]].to_numpy().tolist()
    assert places == [[plate, well] for plate in PLATES for well in ("A01", "A02", "B01", "B02")]
    assert screen.wells["Metadata_Perturbation"].tolist() == ["DMSO", "DMSO", "one", "two"] * 2
    assert screen.wells["Metadata_pert_type"].tolist() == ["negcon", "negcon", "trt", "trt"] * 2
    assert not {"Metadata_Site", "channel", "path"} & set(screen.wells.columns)


def test_each_site_has_the_pixels_of_its_files_in_the_order_of_the_channels(folder: Path) -> None:
    screen = load_folder(folder)
    found = fields(screen)
    assert [(image.row, image.site) for image in found] == [(row, site) for row in range(8) for site in SITES]
    first, last = found[0].pixels, found[-1].pixels
    assert first.shape == (3, 64, 64)
    assert first.dtype == np.uint16
    assert first.max() > 255
    for channel, a, b in zip(screen.channels, first, last, strict=True):
        np.testing.assert_array_equal(a, read_image(folder / f"P1_a1_1_{channel}.png"))
        np.testing.assert_array_equal(b, read_image(folder / f"P2_B2_2_{channel}.png"))


def test_only_the_wells_that_are_asked_for_are_read(folder: Path) -> None:
    screen = load_folder(folder)
    (folder / "P1_a1_1_DNA.png").write_bytes(b"")
    assert [image.row for image in fields(screen, screen.wells.iloc[[6, 2]])] == [6, 6, 2, 2]


def test_excluded_wells_are_left_out_and_counted(folder: Path) -> None:
    screen = load_folder(folder, Reading(exclude=("Metadata_Perturbation=one",)))
    assert screen.wells["Metadata_Well"].tolist() == ["A01", "A02", "B02"] * 2
    assert sum(screen.dropped.values()) == 2 * len(SITES) * len(CHANNELS)
    np.testing.assert_array_equal(fields(screen)[4].pixels[0], read_image(folder / "P1_B2_1_DNA.png"))


def test_the_hash_is_of_pixels_and_places_and_not_of_rows_or_file_names(folder: Path) -> None:
    before = load_folder(folder)
    rewrite(folder, lambda table: table.sample(frac=1, random_state=1))
    shuffled = load_folder(folder)
    assert (shuffled.images_sha256, shuffled.channels) == (before.images_sha256, before.channels)
    pd.testing.assert_frame_equal(shuffled.wells, before.wells)

    (folder / "P1_a1_1_DNA.png").rename(folder / "renamed.png")
    rewrite(folder, lambda table: table.replace({"path": {"P1_a1_1_DNA.png": "renamed.png"}}))
    assert load_folder(folder).images_sha256 == before.images_sha256

    image = read_image(folder / "renamed.png")
    image[5, 6] ^= 1
    (folder / "renamed.png").write_bytes(imagecodecs.png_encode(image))
    assert load_folder(folder).images_sha256 != before.images_sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [("P1_a1_1_DNA.png", "P1_a1_1_ER.png"), ("P1_a1_1_DNA.png", "P2_B2_1_DNA.png")],
    ids=["channels", "wells"],
)
def test_two_images_that_change_places_change_the_hash(folder: Path, one: str, other: str) -> None:
    before = load_folder(folder).images_sha256
    rewrite(folder, lambda table: table.replace({"path": {one: other, other: one}}))
    assert load_folder(folder).images_sha256 != before


def test_a_folder_without_its_table_is_refused(folder: Path) -> None:
    (folder / "screen.csv").unlink()
    assert "screen.csv does not exist" in refusal(folder)


@pytest.mark.parametrize("content", ["", "Metadata_Plate,Metadata_Well,Metadata_Site,channel,path\n", "\xff\xfe\x00"])
def test_an_empty_or_unreadable_table_is_refused(folder: Path, content: str) -> None:
    (folder / "screen.csv").write_bytes(content.encode("latin-1"))
    assert str(folder / "screen.csv") in refusal(folder)


@pytest.mark.parametrize("name", ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "channel", "path"])
def test_a_missing_column_and_an_empty_cell_are_named(folder: Path, name: str) -> None:
    edit(folder, 3, **{name: " "})
    assert f"row 4 has no {name}" in refusal(folder)
    rewrite(folder, lambda table: table.drop(columns=name))
    assert f"no column '{name}'" in refusal(folder)


def test_a_column_that_is_neither_metadata_nor_known_is_refused(folder: Path) -> None:
    rewrite(folder, lambda table: table.assign(dose="1"))
    assert "'dose' must start with Metadata_" in refusal(folder)


def test_absent_images_are_counted_and_the_first_named(folder: Path) -> None:
    (folder / "P1_A2_2_ER.png").unlink()
    (folder / "P2_B1_1_DNA.png").unlink()
    message = refusal(folder)
    assert "P1_A2_2_ER.png is not there (2 such images)" in message


def test_a_site_lacks_a_channel_or_has_it_twice(folder: Path) -> None:
    table = pd.read_csv(folder / "screen.csv", dtype=str)
    row = int(table.index[table["path"] == "P2_B1_2_DNA.png"][0])
    table.drop(index=row).to_csv(folder / "screen.csv", index=False)
    assert "site 2 of well B01 of plate P2 has no channel 'DNA'" in refusal(folder)
    pd.concat([table, table.iloc[[row]]]).to_csv(folder / "screen.csv", index=False)
    assert "site 2 of well B01 of plate P2 has channel 'DNA' twice" in refusal(folder)


def test_rows_of_a_well_that_differ_are_named(folder: Path) -> None:
    edit(folder, 4, Metadata_Perturbation="another")
    message = refusal(folder)
    assert "screen.csv: row 5 " in message
    assert "Metadata_Perturbation" in message


def test_an_unreadable_well_is_named_with_its_row(folder: Path) -> None:
    edit(folder, 7, Metadata_Well="ZZ99")
    message = refusal(folder)
    assert "screen.csv: row 8" in message
    assert "'ZZ99' is no well name" in message


@pytest.mark.parametrize("other", [np.zeros((32, 64), np.uint16), np.zeros((64, 64), np.uint8)], ids=["size", "type"])
def test_channels_of_one_site_in_different_sizes_or_types_are_refused(folder: Path, other: np.ndarray) -> None:
    (folder / "P1_A2_1_ER.png").write_bytes(imagecodecs.png_encode(other))
    message = refusal(folder)
    assert "P1_A2_1_ER.png" in message
    assert "one size and type" in message


def test_a_truncated_image_is_named(folder: Path) -> None:
    path = folder / "P1_A2_1_ER.png"
    path.write_bytes(path.read_bytes()[:500])
    assert "P1_A2_1_ER.png cannot be decoded" in refusal(folder)
