"""Screens of the Cell Painting Gallery, read from a bucket in its layout."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import phenobench as pb
from phenobench import data
from phenobench.errors import InputError
from phenobench.lock import lock_path
from phenobench.profiles.reading import Reading
from phenobench.s3 import Bucket
from tests.screens.gallery_bucket import (
    BATCH,
    BUCKET,
    CARD,
    CHANNELS,
    PILOT,
    PLATES,
    SIZE,
    WELLS,
    WORKSPACE,
    Gallery,
    fetched,
    fields,
    folder_of,
    load_data,
    name_of,
    npy,
    pixels,
    screen,
    tiff,
    write_card,
)
from tests.serving import serve


def test_plates_of_the_pilot_come_with_labels_and_pixels_by_channel(gallery: Gallery) -> None:
    loaded = screen()
    assert loaded.channels == ("DNA", "ER", "RNA", "AGP", "Mito")
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Perturbation", "Metadata_pert_type"]
    expected = [
        ("A01", "aspirin", "trt"),
        ("A02", "DMSO", "negcon"),
        ("B01", "taxol", "trt"),
        ("B02", "nocodazole", "trt"),
    ]
    assert loaded.wells[columns].to_numpy().tolist() == [[plate, *well] for plate in PLATES for well in expected]
    found = fields(loaded)
    assert list(found) == [(plate, well, site) for plate in PLATES for well in WELLS for site in ("1", "2")]
    for (plate, well, site), image in found.items():
        assert image.dtype == np.uint16
        for place, channel in enumerate(loaded.channels):
            np.testing.assert_array_equal(image[place], pixels(plate, well, int(site), channel))
    assert loaded.dropped == {}
    assert "illumination functions were not applied" in loaded.notes


def test_a_card_of_fewer_plates_may_keep_the_controls_of_all(gallery: Gallery) -> None:
    write_card(CARD + 'poscon = ["Metadata_control_type=poscon_cp"]\n')
    assert set(screen().wells["Metadata_pert_type"]) == {"trt", "negcon"}
    write_card(CARD.replace("=negcon", "=ngcon"))
    with pytest.raises(InputError, match=r"no well has Metadata_control_type = 'ngcon'; its values are negcon \(2\)"):
        screen()


def test_only_what_is_asked_for_is_fetched_and_nothing_twice(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = fetched(monkeypatch)
    loaded = screen()
    assert keys == []
    fields(loaded, loaded.wells.iloc[[1]])
    assert sorted(keys) == sorted(
        f"{folder_of(PLATES[0])}/{name_of('A02', site, channel)}"
        for site in (1, 2)
        for channel in ("DNA", "ER", "RNA", "AGP", "Mito")
    )
    fields(loaded)
    fields(screen())
    assert len(keys) == len(set(keys)) == 2 * 4 * 2 * 5


def test_a_cut_keeps_what_had_arrived_and_the_rest_follows(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        before = fetched(patch, stop_after=50)
        with pytest.raises(InputError, match="cut"):
            fields(screen())
    after = fetched(monkeypatch)
    whole = fields(screen())
    assert len(before) == 50
    # The first plate has 40 files and was whole; of the second only what was on the way is fetched again.
    assert not [key for key in after if PLATES[0] in key]
    assert len(after) <= 40
    np.testing.assert_array_equal(whole[PLATES[1], "B02", "2"][0], pixels(PLATES[1], "B02", 2, "DNA"))
    assert not list(Path("cache").rglob("*.tmp"))


def test_hashes_and_sizes_are_recorded_and_a_damaged_file_is_fetched_again(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields(screen())
    folder = Path("cache/screens/pilot")
    index = pd.read_csv(folder / f"index/source_4/{BATCH}/{PLATES[0]}.csv", dtype=str)
    record = folder / f"index/source_4/{BATCH}/{PLATES[0]}.sha256"
    recorded = {key: sha256 for sha256, key in (line.split("  ") for line in record.read_text().splitlines())}
    assert set(recorded) == set(index["key"])
    for key, size in zip(index["key"], index["size"], strict=True):
        content = (folder / key).read_bytes()
        assert hashlib.sha256(content).hexdigest() == recorded[key]
        assert len(content) == int(size)
    assert f'["pilot/source_4/{BATCH}/{PLATES[0]}"]' in lock_path().read_text()

    damaged = folder / index["key"][3]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + b"?")
    keys = fetched(monkeypatch)
    fields(screen())
    assert keys == [index["key"][3]]
    assert damaged.read_bytes() == content


def test_what_a_killed_run_left_is_verified_by_its_etag(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    fields(screen())
    folder = Path("cache/screens/pilot")
    for record in folder.rglob("*.sha256"):
        record.unlink()
    damaged = folder / f"{folder_of(PLATES[1])}/{name_of('B01', 1, 'AGP')}"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    keys = fetched(monkeypatch)
    fields(screen())
    assert keys == [str(damaged.relative_to(folder))]


def test_a_copied_folder_needs_no_network(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    there = fields(screen())
    shutil.copytree("cache/screens/pilot", "copy")
    with serve({}) as gone:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gone.address)
    found = fields(pb.load_screen("pilot", "copy", cards=Path("cards")))
    assert found.keys() == there.keys()


def test_a_changed_source_is_refused_by_object_and_by_lock(gallery: Gallery) -> None:
    loaded = screen()
    key = f"{folder_of(PLATES[0])}/{name_of('A01', 1, 'ER')}"
    gallery.put(key, tiff(pixels("another", "A01", 1, "ER")))
    with pytest.raises(InputError, match=rf"{name_of('A01', 1, 'ER')} has changed since it was listed; remove the"):
        fields(loaded)
    assert not (Path("cache/screens/pilot") / key).exists()

    # Another machine with the same lock.
    lock = lock_path().read_text()
    shutil.rmtree("cache")
    lock_path().parent.mkdir(parents=True)
    lock_path().write_text(lock)
    with pytest.raises(
        InputError, match=rf"pilot/source_4/{BATCH}/{PLATES[0]} has sha256 .* in place of .*remove its t"
    ):
        screen()


def test_the_same_images_give_the_same_hash_and_others_another(gallery: Gallery) -> None:
    first = screen().images_sha256
    shutil.rmtree("cache")
    assert screen().images_sha256 == first
    shutil.rmtree("cache")
    gallery.put(f"{folder_of(PLATES[1])}/{name_of('B01', 2, 'Mito')}", tiff(pixels("another", "B01", 2, "Mito")))
    assert screen().images_sha256 != first


def test_left_out_wells_are_counted_by_reason_and_listed(gallery: Gallery) -> None:
    platemap = f"{WORKSPACE}/metadata/platemaps/{BATCH}/platemap/JUMP-Target-1_compound_platemap.txt"
    gallery.put(
        platemap,
        "well_position\tbroad_sample\tsolvent\nA01\tBRD-1\t\nA02\t\t\nB01\tBRD-2\t\nC01\tBRD-1\t\nC02\tBRD-9\t\n",
    )
    plain = screen()
    assert plain.dropped == {"images without metadata": 2, "metadata without images": 2, "no perturbation label": 2}
    assert plain.left_out is not None
    listed = plain.left_out[["Metadata_Plate", "Metadata_Well", "reason"]].to_numpy().tolist()
    assert listed == [
        [plate, *one]
        for plate in PLATES
        for one in (
            ("B02", "images without metadata"),
            ("C01", "metadata without images"),
            ("C02", "no perturbation label"),
        )
    ]
    without = screen(reading=Reading(exclude=("Metadata_pert_iname=taxol", f"Metadata_Plate={PLATES[0]}")))
    assert without.dropped["excluded Metadata_pert_iname=taxol"] == 2
    assert without.dropped[f"excluded Metadata_Plate={PLATES[0]}"] == 4
    assert set(without.wells["Metadata_Plate"]) == {PLATES[1]}


def test_the_platemap_layout_without_load_data_gives_the_same_screen(gallery: Gallery) -> None:
    names = r"Images/r(?P<row>\d+)c(?P<column>\d+)f0*(?P<site>\d+)p01-ch(?P<channel>\d)sk1fk1fl1\.tiff"
    card = CARD.replace('"pilot"', '"by-name"').replace(
        'layout = "load-data"', f"layout = 'file-names'\npattern = '{names}'"
    )
    for channel in ("DNA", "ER", "RNA", "AGP", "Mito"):
        card = card.replace(f'{channel} = ["{channel}"]', f'{channel} = ["{CHANNELS[channel]}"]')
    write_card(card, "by-name")
    # A plate whose barcode begins alike is another plate.
    gallery.put(f"{folder_of(PLATES[0] + 'A')}/{name_of('A01', 1, 'DNA')}", tiff(pixels("another", "A01", 1, "DNA")))
    by_table, by_name = screen(), screen("by-name")
    pd.testing.assert_frame_equal(by_table.wells, by_name.wells)
    assert by_table.images_sha256 == by_name.images_sha256
    expected = fields(by_table)
    for place, image in fields(by_name).items():
        np.testing.assert_array_equal(image, expected[place])


def test_illumination_functions_are_divided_out_and_recorded(gallery: Gallery) -> None:
    plain = screen()
    for plate in PLATES:
        for place, channel in enumerate(("DNA", "ER", "RNA", "AGP", "Mito")):
            function = np.full(SIZE, 1.0 + place)
            function[0, 0] = 0.25
            folder = f"{PILOT}/source_4/images/{BATCH}/illum/{plate}"
            gallery.put(f"{folder}/{plate}_Illum{channel}.npy", npy(function))
    write_card(
        CARD.replace('"pilot"', '"corrected"').replace("[[batches]]", "illumination = true\n[[batches]]", 1),
        "corrected",
    )
    corrected = screen("corrected")
    assert "illumination functions were divided out" in corrected.notes
    assert corrected.images_sha256 != plain.images_sha256
    raw = fields(plain)
    for key, image in fields(corrected).items():
        for place in range(5):
            expected = np.rint(raw[key][place] / (1.0 + place))
            np.testing.assert_array_equal(image[place].ravel()[1:], expected.ravel()[1:])
            # Brighter than the type: white, and not dark by overflow.
            assert image[place][0, 0] == min(int(raw[key][place][0, 0]) * 4, 65535)


def test_an_absent_illumination_function_is_one_sentence(gallery: Gallery) -> None:
    write_card(CARD.replace("[[batches]]", "illumination = true\n[[batches]]", 1))
    with pytest.raises(InputError, match=r"BR00116991 has no illumination function of DNA; set illumination = false"):
        screen()


def test_a_site_without_a_channel_file_is_left_out_and_named(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenobench.screens.gallery_index.MOST_MISSING", 0.2)
    gallery.remove(f"{folder_of(PLATES[0])}/{name_of('A01', 2, 'RNA')}")
    loaded = screen()
    named = f"(first: plate {BATCH}/BR00116991, well A01, site 2, RNA)"
    assert f"1 sites that lack the file of a channel were left out {named}" in loaded.notes
    assert (PLATES[0], "A01", "2") not in fields(loaded)
    assert (PLATES[0], "A01", "1") in fields(loaded)


def test_a_field_that_cannot_be_decoded_is_damaged_alone_with_and_without_illumination(gallery: Gallery) -> None:
    """The bucket itself holds a damaged file: its hash is right."""
    gallery.put(f"{folder_of(PLATES[0])}/{name_of('A01', 2, 'RNA')}", tiff(pixels(PLATES[0], "A01", 2, "RNA"))[:200])
    gallery.put(f"{folder_of(PLATES[1])}/{name_of('B02', 1, 'ER')}", tiff(pixels(PLATES[1], "B02", 1, "ER", (20, 24))))
    for plate in PLATES:
        for channel in ("DNA", "ER", "RNA", "AGP", "Mito"):
            key = f"{PILOT}/source_4/images/{BATCH}/illum/{plate}/{plate}_Illum{channel}.npy"
            gallery.put(key, npy(np.full(SIZE, 1.0)))
    write_card(
        CARD.replace('"pilot"', '"corrected"').replace("[[batches]]", "illumination = true\n[[batches]]", 1),
        "corrected",
    )
    for loaded in (screen(), screen("corrected")):
        assert loaded.images is not None
        found = list(loaded.images(loaded.wells))
        assert len(found) == 2 * len(WELLS) * 2
        damaged = [(field.row, field.site, field.damage) for field in found if field.damage]
        assert [(row, site) for row, site, _ in damaged] == [(0, "2"), (7, "1")]
        assert f"{name_of('A01', 2, 'RNA')} cannot be decoded" in str(damaged[0][2])
        assert "(20, 24)" in str(damaged[1][2])


def drop_column(gallery: Gallery, name: str) -> None:
    table = load_data(PLATES[0]).drop(columns=[column for column in load_data(PLATES[0]) if name in str(column)])
    gallery.put(f"{WORKSPACE}/load_data_csv/{BATCH}/{PLATES[0]}/load_data.csv", table.to_csv(index=False))


def as_treated(gallery: Gallery) -> None:
    """The second plate has another platemap, without a control."""
    platemaps = f"{WORKSPACE}/metadata/platemaps/{BATCH}"
    gallery.put(
        f"{platemaps}/barcode_platemap.csv",
        "Assay_Plate_Barcode,Plate_Map_Name\nBR00116991,JUMP-Target-1_compound_platemap\nBR00116992,other\n",
    )
    gallery.put(f"{platemaps}/platemap/other.txt", "well_position\tbroad_sample\nA01\tBRD-1\nB01\tBRD-2\n")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda bucket: bucket.remove(f"{folder_of(PLATES[0])}/{name_of('A01', 2, 'RNA')}"),
            r"1 of 8 sites of plate .*BR00116991 lack the file of a channel \(first: well A01, site 2, RNA\); leave",
        ),
        (lambda bucket: drop_column(bucket, "OrigER"), r"load_data\.csv has no column FileName_OrigER for channel ER"),
        (lambda bucket: drop_column(bucket, "Metadata_Site"), r"load_data\.csv has no column 'Metadata_Site'; it has"),
        (as_treated, r"pilot: plate BR00116992 of source_4 has no negative control with images; mend controls"),
        (
            lambda bucket: bucket.remove(f"{WORKSPACE}/load_data_csv/{BATCH}/{PLATES[1]}/load_data.csv"),
            r"BR00116992/load_data\.csv is not there; check the card's project and batches",
        ),
        (
            lambda bucket: bucket.put(
                f"{WORKSPACE}/metadata/platemaps/{BATCH}/barcode_platemap.csv", "Assay_Plate_Barcode,Plate_Map_Name\n"
            ),
            r"barcode_platemap\.csv has no plate BR00116991; mend batches of pilot",
        ),
    ],
)
def test_what_is_wrong_in_the_bucket_is_one_sentence(
    gallery: Gallery, harm: Callable[[Gallery], None], message: str
) -> None:
    harm(gallery)
    with pytest.raises(InputError, match=message) as caught:
        screen()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[controls]", 'plate = "Metadata_Plate"\n[controls]'), "roles: .*the plate is given by the gallery's layout"),
        (('layout = "load-data"', 'layout = "file-names"\npattern = "(?P<well>.*)"'), "needs the groups site, channel"),
        (("key = ", 'url = "https://example.org/table.tsv"\nkey = '), "give either url or key"),
        (('bucket = "cellpainting-gallery"', ""), "bucket: Field required"),
    ],
)
def test_a_malformed_card_is_one_sentence(gallery: Gallery, change: tuple[str, str], message: str) -> None:
    write_card(CARD.replace(*change))
    with pytest.raises(InputError, match=message) as caught:
        screen()
    assert "\n" not in str(caught.value)


def test_data_get_fetches_every_plate(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = data.get("pilot", cards=Path("cards"))
    assert len(paths) == 2 * 4 * 2 * 5
    assert all(path.is_file() for path in paths)
    keys = fetched(monkeypatch)
    fields(screen())
    assert keys == []


def test_what_is_not_public_is_refused_since_nothing_is_signed(gallery: Gallery) -> None:
    gallery.put("private/file.csv", b"a\n1\n")
    with pytest.raises(InputError, match=r"private/file\.csv may not be read without credentials"):
        Bucket(BUCKET, "us-east-1").read("private/file.csv")
