"""Screens of the Cell Painting Gallery: a bucket in its layout, written in small, on an S3 endpoint of this machine.

The bucket's policy lets everybody read all but one folder, so that only what is read without
credentials works, as with the gallery itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import phenobench as pb
from phenobench import data
from phenobench.cards import load
from phenobench.errors import InputError
from phenobench.lock import lock_path
from phenobench.reading import Reading
from phenobench.s3 import Bucket, Mirror, S3Object
from phenobench.screens import Screen
from phenobench.screens.gallery_card import GalleryCard
from phenobench.screens.gallery_wells import wells_of
from tests.serving import serve
from tests.shared import shared

BUCKET = "cellpainting-gallery"
SIZE = (24, 20)
CHANNELS = {"DNA": 5, "ER": 4, "RNA": 3, "AGP": 2, "Mito": 1, "Brightfield": 8}
# Moto lets a request act only if it looks signed; whose signature it is does not matter there.
_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=owner/20260101/us-east-1/s3/aws4_request",
    "Content-Type": "application/octet-stream",
}


class Gallery:
    """The bucket from its owner's side; what was changed since ``keep`` can be put back."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._now: dict[str, bytes] = {}
        self._kept: dict[str, bytes] = {}

    def keep(self) -> None:
        self._kept = dict(self._now)

    def restore(self) -> None:
        for key in self._now.keys() - self._kept.keys():
            self.remove(key)
        for key, body in self._kept.items():
            if self._now.get(key) != body:
                self.put(key, body)

    def _put(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(f"{self.endpoint}/{path}", data=body, method="PUT", headers=_SIGNED)
        urllib.request.urlopen(request).close()

    def create(self) -> None:
        self._put(BUCKET, b"")
        readable = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
        everything = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/cpg*"]
        policy = {"Version": "2012-10-17", "Statement": [{**readable, "Resource": everything}]}
        self._put(f"{BUCKET}?policy", json.dumps(policy).encode())

    def put(self, key: str, body: bytes | str) -> None:
        self._now[key] = body.encode() if isinstance(body, str) else body
        self._put(f"{BUCKET}/{key}", self._now[key])

    def remove(self, key: str) -> None:
        del self._now[key]
        request = urllib.request.Request(f"{self.endpoint}/{BUCKET}/{key}", method="DELETE", headers=_SIGNED)
        urllib.request.urlopen(request).close()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Gallery]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    running = Gallery(f"http://{host}:{port}")
    running.create()
    write_pilot(running)
    running.keep()
    yield running
    server.stop()


@pytest.fixture
def gallery(bucket: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    """The bucket, with a card of its pilot where ``screen`` finds it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PHENOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_card(CARD)
    yield bucket
    bucket.restore()


def pixels(plate: str, well: str, site: int, channel: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What an image shows, so that one in the place of another is seen."""
    seed = hashlib.sha256(f"{plate} {well} {site} {channel}".encode()).digest()
    return np.random.default_rng(list(seed)).integers(100, 60000, size, dtype=np.uint16)


def tiff(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, compression="lzw")
    return buffer.getvalue()


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


# A pilot like cpg0000: Opera Phenix names, `load_data.csv` with URLs, platemaps, tables by broad_sample.
PILOT = "cpg0000-jump-pilot"
BATCH = "2020_11_04_CPJUMP1"
PLATES = ("BR00116991", "BR00116992")
WELLS = {"A01": "BRD-1", "A02": "", "B01": "BRD-2", "B02": "BRD-3"}
IMAGES = f"{PILOT}/source_4/images/{BATCH}/images"
WORKSPACE = f"{PILOT}/source_4/workspace"
CARD = f"""
id = "pilot"
title = "Two plates of four wells"
kind = "gallery"
licence = "CC0 1.0"
source = "https://github.com/broadinstitute/cellpainting-gallery"
bucket = "{BUCKET}"
region = "us-east-1"
project = "{PILOT}"

[[batches]]
source = "source_4"
name = "{BATCH}"
plates = ["BR00116991", "BR00116992"]

[images]
layout = "load-data"

[channels]
DNA = ["DNA"]
ER = ["ER"]
RNA = ["RNA"]
AGP = ["AGP"]
Mito = ["Mito"]

[[tables]]
key = "{WORKSPACE}/metadata/external_metadata/JUMP-Target-1_compound_metadata.tsv"
on = {{ Metadata_broad_sample = "broad_sample" }}

[roles]
perturbation = "Metadata_pert_iname"

[controls]
negcon = ["Metadata_control_type=negcon"]
"""


def folder_of(plate: str) -> str:
    return f"{IMAGES}/{plate}__2020-11-05T19_51_35-Measurement1/Images"


def name_of(well: str, site: int, channel: str) -> str:
    row = ord(well[0]) - ord("A") + 1
    return f"r{row:02d}c{int(well[1:]):02d}f{site:02d}p01-ch{CHANNELS[channel]}sk1fk1fl1.tiff"


def load_data(plate: str, wells: Mapping[str, str] = WELLS) -> pd.DataFrame:
    """``load_data.csv`` as the gallery has it, brightfield and all."""
    rows = []
    for well in wells:
        for site in (1, 2):
            row: dict[str, object] = {}
            for channel in CHANNELS:
                name = name_of(well, site, channel)
                row[f"FileName_Orig{channel}"] = name
                row[f"PathName_Orig{channel}"] = f"/home/ubuntu/bucket/projects/{BATCH}/images/{plate}/Images"
                row[f"URL_Orig{channel}"] = f"s3://{BUCKET}/{folder_of(plate)}/{name}"
            rows.append({**row, "Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": site})
    return pd.DataFrame(rows)


def write_pilot(gallery: Gallery) -> None:
    """The files of the pilot."""
    for plate in PLATES:
        for well in WELLS:
            for site in (1, 2):
                for channel in CHANNELS:
                    gallery.put(
                        f"{folder_of(plate)}/{name_of(well, site, channel)}", tiff(pixels(plate, well, site, channel))
                    )
        gallery.put(f"{WORKSPACE}/load_data_csv/{BATCH}/{plate}/load_data.csv", load_data(plate).to_csv(index=False))
    platemaps = f"{WORKSPACE}/metadata/platemaps/{BATCH}"
    barcodes = "".join(f"{plate},JUMP-Target-1_compound_platemap\n" for plate in PLATES)
    gallery.put(f"{platemaps}/barcode_platemap.csv", "Assay_Plate_Barcode,Plate_Map_Name\n" + barcodes)
    lines = "".join(f"{well}\t{sample}\tDMSO\n" for well, sample in WELLS.items())
    gallery.put(
        f"{platemaps}/platemap/JUMP-Target-1_compound_platemap.txt", "well_position\tbroad_sample\tsolvent\n" + lines
    )
    gallery.put(
        f"{WORKSPACE}/metadata/external_metadata/JUMP-Target-1_compound_metadata.tsv",
        "broad_sample\tpert_iname\tpert_type\tcontrol_type\n"
        "BRD-1\taspirin\ttrt\t\nBRD-2\ttaxol\ttrt\t\nBRD-3\tnocodazole\ttrt\t\n\tDMSO\tcontrol\tnegcon\n",
    )


def write_card(text: str, name: str = "pilot") -> Path:
    path = Path("cards/screens") / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def screen(name: str = "pilot", reading: Reading | None = None) -> Screen:
    return pb.load_screen(name, cards=Path("cards"), reading=reading)


def fields(loaded: Screen, rows: pd.DataFrame | None = None) -> dict[tuple[str, str, str], np.ndarray]:
    assert loaded.images is not None
    found = {}
    for field in loaded.images(loaded.wells if rows is None else rows):
        place = loaded.wells.iloc[field.row]
        found[str(place["Metadata_Plate"]), str(place["Metadata_Well"]), field.site] = field.pixels
    return found


def fetched(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """The keys that are fetched from now on; after some of them the network is cut."""
    keys: list[str] = []
    fetch = Bucket.fetch

    def counted(self: Bucket, wanted: S3Object) -> bytes:
        if stop_after is not None and len(keys) >= stop_after:
            raise InputError("cut")
        keys.append(wanted.key)
        return fetch(self, wanted)

    monkeypatch.setattr(Bucket, "fetch", counted)
    return keys


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


def test_no_server_is_one_sentence(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({}) as gone:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gone.address)
    monkeypatch.setattr("phenobench.s3._RETRIES", 0)
    with pytest.raises(InputError, match=r"cannot be read from http://127.*check the network") as caught:
        Bucket(BUCKET, "us-east-1").read("cpg/file.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["cut", "short", "damaged"])
def test_a_truncated_or_damaged_download_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    content = bytes(range(256)) * 10
    arriving = {"cut": content, "short": content[:-1], "damaged": content[:-1] + b"?"}[kind]
    wanted = S3Object("cpg/image.tiff", len(content), hashlib.md5(content).hexdigest())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("phenobench.s3._RETRIES", 0)
    with serve({f"/{BUCKET}/cpg/image.tiff": arriving}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.address)
        if kind == "cut":
            server.cut.add(f"/{BUCKET}/cpg/image.tiff")
        mirror = Mirror(Bucket(BUCKET, "us-east-1"), tmp_path)
        with pytest.raises(InputError, match=r"image\.tiff (cannot be read|arrived with .* in place of)"):
            mirror.fetch([wanted], tmp_path / "record.sha256", "a plate")
        assert list(tmp_path.rglob("*.*")) == []
        server.cut.clear()
        server.files[f"/{BUCKET}/cpg/image.tiff"] = content
        mirror.fetch([wanted], tmp_path / "record.sha256", "a plate")
    assert (tmp_path / "cpg/image.tiff").read_bytes() == content


def test_bray_2017_is_read_by_its_own_card(gallery: Gallery) -> None:
    """Lower-case wells, paths of the machine that CellProfiler ran on, plates of the barcode table, size 520 x 696."""
    project = "cpg0012-wawer-bioactivecompoundprofiling/broad"
    columns = ("DNA", "ER", "RNA", "AGP", "Mito")
    rows = []
    for well in ("a01", "a02"):
        row: dict[str, object] = {}
        for number, channel in enumerate(columns, start=1):
            name = f"cdp2bioactives_{well}_s1_w{number}27df6541-0b3c-4f3a-8a7b-0123456789ab.tif"
            row[f"FileName_Orig{channel}"] = name
            row[f"PathName_Orig{channel}"] = "/home/ubuntu/bucket/projects/2015_Bray_GigaScience/CDRP/images/24277"
            gallery.put(
                f"{project}/images/CDRP/images/24277/{name}",
                tiff(pixels("24277", well.upper(), 1, channel, (520, 696))),
            )
        rows.append({**row, "Metadata_Plate": "24277", "Metadata_Well": well, "Metadata_Site": 1})
    gallery.put(f"{project}/workspace/load_data_csv/CDRP/24277/load_data.csv", pd.DataFrame(rows).to_csv(index=False))
    platemaps = f"{project}/workspace/metadata/platemaps/CDRP"
    gallery.put(f"{platemaps}/barcode_platemap.csv", "Assay_Plate_Barcode,Plate_Map_Name\n24277,H-BIOA-004-3\n")
    gallery.put(
        f"{platemaps}/platemap/H-BIOA-004-3.txt",
        "plate_map_name\twell_position\tbroad_sample\tmg_per_ml\tmmoles_per_liter\tsolvent\n"
        "H-BIOA-004-3\tA01\tBRD-K18250272-003-03-7\t1.2\t5.0\tDMSO\nH-BIOA-004-3\tA02\t\t0\t0\tDMSO\n",
    )
    loaded = pb.load_screen("bray2017")
    assert loaded.wells["Metadata_Well"].tolist() == ["A01", "A02"]
    assert loaded.wells["Metadata_pert_type"].tolist() == ["trt", "negcon"]
    assert loaded.wells["Metadata_Perturbation"][0] == "BRD-K18250272-003-03-7"
    for (plate, well, site), image in fields(loaded).items():
        for place, channel in enumerate(loaded.channels):
            np.testing.assert_array_equal(image[place], pixels(plate, well, int(site), channel, (520, 696)))


def test_jump_is_read_by_its_keys_and_its_table_of_controls(gallery: Gallery) -> None:
    """``well.csv.gz`` in place of platemaps, controls by ``perturbation_control``, a parquet table with S3 folders."""
    project = "cpg0016-jump/source_4"
    folder = f"{project}/images/2021_08_23_Batch12/images/BR00126114__2021-08-28T08_30_56-Measurement1/Images"
    rows = []
    for well in ("A01", "A02"):
        gallery.put(f"{folder}/{name_of(well, 1, 'DNA')}", tiff(pixels("BR00126114", well, 1, "DNA")))
        rows.append(
            {
                "Metadata_Source": "source_4",
                "Metadata_Plate": "BR00126114",
                "Metadata_Well": well,
                "Metadata_Site": "1",
                "FileName_OrigDNA": name_of(well, 1, "DNA"),
                "PathName_OrigDNA": f"s3://{BUCKET}/{folder}/",
            }
        )
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    workspace = f"{project}/workspace/load_data_csv/2021_08_23_Batch12/BR00126114"
    gallery.put(f"{workspace}/load_data_with_illum.parquet", buffer.getvalue())
    tables = "cpg0016-jump/metadata"
    gallery.put(
        f"{tables}/well.csv",
        "Metadata_Source,Metadata_Plate,Metadata_Well,Metadata_JCP2022\nsource_4,BR00126114,A01,JCP2022_085227\n"
        "source_4,BR00126114,A02,JCP2022_033924\nsource_4,BR00126114,A03,JCP2022_999999\n"
        "source_9,BR00126114,A04,JCP2022_085227\n",
    )
    gallery.put(
        f"{tables}/perturbation_control.csv",
        "Metadata_JCP2022,Metadata_pert_type,Metadata_Name,Metadata_modality\nJCP2022_999999,empty,Empty,any\n"
        "JCP2022_033924,negcon,DMSO,compound\nJCP2022_085227,poscon,aloxistatin,compound\n",
    )
    start = CARD.index("[[tables]]")
    card = (
        CARD[:start]
        .replace('id = "pilot"', 'id = "jump"')
        .replace(PILOT, "cpg0016-jump")
        .replace(BATCH, "2021_08_23_Batch12")
        .replace('["BR00116991", "BR00116992"]', '["BR00126114"]')
        .replace('layout = "load-data"', 'layout = "load-data"\ntable = "load_data_with_illum.parquet"')
    )
    card = (
        card[: card.index("ER =")]
        + f"""
[wells]
key = "{tables}/well.csv"
on = {{ Metadata_Source = "Metadata_Source", Metadata_Plate = "Metadata_Plate", Metadata_Well = "Metadata_Well" }}

[[tables]]
key = "{tables}/perturbation_control.csv"
on = {{ Metadata_JCP2022 = "Metadata_JCP2022" }}

[roles]
perturbation = "Metadata_JCP2022"

[controls]
"""
    )
    write_card(card, "jump")
    loaded = screen("jump")
    assert loaded.wells["Metadata_pert_type"].tolist() == ["poscon", "negcon"]
    assert loaded.wells["Metadata_Source"].tolist() == ["source_4", "source_4"]
    assert loaded.dropped == {"marked empty": 1}
    np.testing.assert_array_equal(fields(loaded)["BR00126114", "A02", "1"][0], pixels("BR00126114", "A02", 1, "DNA"))


def test_the_card_of_cpjump1_labels_the_wells_of_its_plates() -> None:
    """Against the published tables: 384 wells a plate, 64 of them DMSO where there are compounds."""
    folder = shared("data", "jump_metadata", "cpjump1")
    card = load(Path(pb.__file__).parent / "screens/cpjump1.toml", GalleryCard)
    for table in card.tables:
        assert table.url is not None
        path = folder / table.url.partition("040170fff115b4cb407069cb9d4ccae20d0549ea/")[2]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == table.sha256
    wells = wells_of(
        card,
        lambda key: folder / key.partition("workspace/")[2],
        lambda table: folder / str(table.url).partition("040170fff115b4cb407069cb9d4ccae20d0549ea/")[2],
    )
    plates = wells.groupby(["Metadata_Perturbation", "Metadata_Plate"])
    assert plates.size().tolist() == [384] * 40
    assert plates.ngroups == len({plate for batch in card.batches for plate in batch.plates}) == 40
    compounds = wells[(wells["Metadata_Perturbation"] == "compound") & (wells["Metadata_control_type"] == "negcon")]
    assert compounds.groupby("Metadata_Plate").size().tolist() == [64] * 16
    assert set(wells["Metadata_Cell_line"][wells["Metadata_Perturbation"] == "compound"]) == {"Parental"}
    assert wells["Metadata_gene"][wells["Metadata_Perturbation"] == "compound"].eq("").all()
    genes = wells["Metadata_gene"][
        (wells["Metadata_Perturbation"] == "crispr") & (wells["Metadata_pert_type"] == "trt")
    ]
    assert genes.ne("").all()
