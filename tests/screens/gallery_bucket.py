"""A bucket in the layout of the Cell Painting Gallery, written in small: the pilot, two plates of four wells.

Its policy lets everybody read all that begins with ``cpg``, so that only what is read without credentials works, as
with the gallery itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import phenobench as pb
from phenobench.errors import InputError
from phenobench.profiles.reading import Reading
from phenobench.s3 import Bucket, S3Object
from phenobench.screens import Screen

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
