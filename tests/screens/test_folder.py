"""A folder of one's own images: what is read, what fixes its hash, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.images import read_image
from phenobench.profiles.reading import Reading
from phenobench.screens import Screen, SiteImage, load_screen
from phenobench.screens.folder import load_folder
from phenobench.screens.preview import preview
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


def listed(screen: Screen) -> list[list[str]]:
    assert screen.left_out is not None
    return [*screen.left_out[["Metadata_Plate", "Metadata_Well", "reason"]].to_numpy().tolist()]


def test_excluded_wells_are_left_out_counted_and_named(folder: Path) -> None:
    screen = load_folder(folder, Reading(exclude=("Metadata_Perturbation=one",)))
    assert screen.wells["Metadata_Well"].tolist() == ["A01", "A02", "B02"] * 2
    assert screen.dropped == {"excluded Metadata_Perturbation=one": 2}
    assert listed(screen) == [[plate, "B01", "excluded Metadata_Perturbation=one"] for plate in PLATES]
    np.testing.assert_array_equal(fields(screen)[4].pixels[0], read_image(folder / "P1_B2_1_DNA.png"))


def test_wells_without_images_and_images_without_metadata_are_counted_and_named(folder: Path) -> None:
    """As a platemap joined to a list of images gives them, with every row of both."""
    table = pd.read_csv(folder / "screen.csv", dtype=str).fillna("")
    said = ["Metadata_Perturbation", "Metadata_pert_type"]
    table.loc[(table["Metadata_Plate"] == "P1") & (table["Metadata_Well"] == "B2"), said] = ""
    unimaged = {"Metadata_Plate": "P2", "Metadata_Well": "H12", "Metadata_Perturbation": "one"}
    unlabelled = table[table["Metadata_Well"] == "B1"].assign(Metadata_Well="C1", Metadata_Perturbation="")
    marked = table[(table["Metadata_Well"] == "B1")].assign(Metadata_Well="C2", Metadata_pert_type="empty")
    joined = pd.concat([table, pd.DataFrame([unimaged]), unlabelled, marked]).fillna("")
    whole = load_folder(folder)
    joined.sample(frac=1, random_state=2).to_csv(folder / "screen.csv", index=False)
    screen = load_folder(folder)
    assert screen.dropped == {
        "images without metadata": 1,
        "marked empty": 2,
        "metadata without images": 1,
        "no perturbation label": 2,
    }
    assert listed(screen) == [
        ["P1", "B02", "images without metadata"],
        ["P1", "C01", "no perturbation label"],
        ["P1", "C02", "marked empty"],
        ["P2", "C01", "no perturbation label"],
        ["P2", "C02", "marked empty"],
        ["P2", "H12", "metadata without images"],
    ]
    assert screen.wells.equals(whole.wells.drop(index=3).reset_index(drop=True))
    kept = [field for field in fields(whole) if field.row != 3]
    for field, expected in zip(fields(screen), kept, strict=True):
        assert field.row == expected.row - (expected.row > 3)
        np.testing.assert_array_equal(field.pixels, expected.pixels)


def test_a_folder_that_says_nothing_of_its_wells_can_be_embedded(folder: Path) -> None:
    rewrite(folder, lambda table: table.drop(columns=["Metadata_Perturbation", "Metadata_pert_type"]))
    screen = load_folder(folder)
    assert len(screen.wells) == 8
    assert screen.dropped == {}


def test_a_folder_of_which_nothing_is_left_says_why(folder: Path) -> None:
    rewrite(folder, lambda table: table.assign(Metadata_Perturbation="", Metadata_pert_type="trt"))
    message = refusal(folder)
    assert "screen.csv: no well is left" in message
    assert "'no perturbation label': 8" in message


def with_functions(folder: Path, value: float) -> None:
    """An illumination function a plate and channel: twice as bright in its left half."""
    for plate in PLATES:
        for channel in CHANNELS:
            function = np.full((64, 64), value)
            function[:, :32] *= 2
            np.save(folder / f"{plate}_Illum{channel}.npy", function)
    rewrite(
        folder,
        lambda table: table.assign(illumination=table["Metadata_Plate"] + "_Illum" + table["channel"] + ".npy"),
    )


def test_illumination_functions_are_divided_out_and_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_folder(folder)
    with_functions(folder, 1.5)
    hashed: list[str] = []

    def counted(path: Path) -> str:
        hashed.append(path.suffix)
        return sha256_of(path)

    with monkeypatch.context() as patch:
        patch.setattr("phenobench.screens.folder.sha256_of", counted)
        screen = load_folder(folder)
    # A function once, however many images it is of.
    assert hashed.count(".npy") == len(PLATES) * len(CHANNELS)
    assert screen.notes == ("illumination functions were divided out",)
    assert plain.notes == ()
    for before, after in zip(fields(plain), fields(screen), strict=True):
        assert after.pixels.dtype == np.uint16
        np.testing.assert_array_equal(after.pixels[:, :, :32], np.rint(before.pixels[:, :, :32] / 3))
        np.testing.assert_array_equal(after.pixels[:, :, 32:], np.rint(before.pixels[:, :, 32:] / 1.5))
    # The same images under other functions are other images.
    np.save(folder / "P2_IllumER.npy", np.ones((64, 64)))
    again = load_folder(folder)
    assert len({plain.images_sha256, screen.images_sha256, again.images_sha256}) == 3


def test_what_is_wrong_with_an_illumination_function_is_one_sentence(folder: Path) -> None:
    with_functions(folder, 1.0)
    np.save(folder / "P2_IllumER.npy", np.ones((32, 64)))
    assert "P2_a1_1_ER.png is (64, 64) and its illumination function (32, 64)" in refusal(folder)
    np.save(folder / "P2_IllumER.npy", np.zeros((64, 64)))
    assert "P2_IllumER.npy is no illumination function: it needs positive numbers" in refusal(folder)
    (folder / "P2_IllumER.npy").write_bytes(b"")
    assert "P2_IllumER.npy is no illumination function that can be read" in refusal(folder)
    (folder / "P2_IllumER.npy").unlink()
    assert "P2_IllumER.npy is not there (8 such files); mend the illumination column" in refusal(folder)
    edit(folder, 4, illumination="")
    assert "row 5 has no illumination" in refusal(folder)


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
    assert "P1_A2_2_ER.png is not there (2 such files)" in message


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


def damaged_fields(folder: Path) -> dict[tuple[int, str], str]:
    """What is wrong, by row and site; the other fields have their pixels."""
    whole, damaged = [], {}
    for field in fields(load_folder(folder)):
        if field.damage is None:
            whole.append(field)
        else:
            assert field.pixels.size == 0
            damaged[field.row, field.site] = field.damage
    assert len(whole) + len(damaged) == 8 * len(SITES)
    for field in whole:
        assert field.pixels.shape == (3, 64, 64)
    return damaged


@pytest.mark.parametrize("other", [np.zeros((32, 64), np.uint16), np.zeros((64, 64), np.uint8)], ids=["size", "type"])
def test_a_field_whose_channels_differ_in_size_or_type_is_damaged_alone(folder: Path, other: np.ndarray) -> None:
    (folder / "P1_A2_1_ER.png").write_bytes(imagecodecs.png_encode(other))
    damaged = damaged_fields(folder)
    assert list(damaged) == [(1, "1")]
    assert str(folder / "P1_A2_1_ER.png") in damaged[1, "1"]
    assert "one size and type" in damaged[1, "1"]


def test_a_field_with_an_image_that_cannot_be_decoded_is_damaged_alone(folder: Path) -> None:
    path = folder / "P1_A2_1_ER.png"
    path.write_bytes(path.read_bytes()[:500])
    (folder / "P2_B2_2_DNA.png").write_bytes(b"")
    colour = imagecodecs.png_encode(np.zeros((64, 64, 3), np.uint8))
    (folder / "P2_B2_1_DNA.png").write_bytes(colour)
    damaged = damaged_fields(folder)
    assert list(damaged) == [(1, "1"), (7, "1"), (7, "2")]
    assert damaged[1, "1"].startswith(f"{path} cannot be decoded (")
    assert "(64, 64, 3)" in damaged[7, "1"]
    assert damaged[7, "2"].startswith(str(folder / "P2_B2_2_DNA.png"))
    assert not any("\n" in reason for reason in damaged.values())


def test_an_image_that_goes_away_while_it_is_read_is_no_damage(folder: Path) -> None:
    """A folder that is being moved must not be scored by what is left of it."""
    screen = load_folder(folder)
    (folder / "P1_A2_1_ER.png").unlink()
    with pytest.raises(InputError, match=r"P1_A2_1_ER\.png does not exist"):
        fields(screen)


def test_the_preview_shows_the_next_field_of_a_well_whose_first_is_damaged(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Site 2 of that well under both names: without damage the picture is the same.
    for channel in CHANNELS:
        (folder / f"P1_a1_1_{channel}.png").write_bytes((folder / f"P1_a1_2_{channel}.png").read_bytes())
    preview(load_folder(folder), tmp_path / "whole.png")
    assert not caplog.records
    (folder / "P1_a1_1_ER.png").write_bytes(b"")
    preview(load_folder(folder), tmp_path / "damaged.png")
    assert (tmp_path / "damaged.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    (record,) = caplog.records
    assert "P1_a1_1_ER.png cannot be decoded" in record.message


def test_labels_of_a_folder_are_checked_as_those_of_profiles_are(tmp_path: Path) -> None:
    """Wells are counted, not their images; what contradicts itself is refused."""
    folder = make_folder(tmp_path / "mine")
    table = pd.read_csv(folder / "screen.csv", dtype=str)
    name = "Metadata_Perturbation"
    table[name] = table[name].where((table["Metadata_Plate"] != "P1") | (table[name] != "one"), "One")
    table.to_csv(folder / "screen.csv", index=False)
    notes = load_screen(str(folder)).notes
    assert any("'One' and 'one' look alike" in note for note in notes), notes
    table["Metadata_Symbol"] = table["Metadata_Well"]
    table[name] = "two"
    table.to_csv(folder / "screen.csv", index=False)
    with pytest.raises(InputError, match=r"row \d+: perturbation two has the gene '\w+' in Metadata_Symbol, and"):
        load_screen(str(folder))
