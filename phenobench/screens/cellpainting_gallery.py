"""Screens of the Cell Painting Gallery, such as CPJUMP1 and Bray et al. 2017: public images on S3, a plate at a time.

The gallery keeps a project as ``<project>/<source>/images/<batch>/images/<plate>...`` beside
``workspace/load_data_csv`` and ``workspace/metadata/platemaps`` (broadinstitute.github.io/cellpainting-gallery,
"folder structure"). All that differs between projects is on the card. What a plate's images are is
written into an index at its first use, and the hash of that into ``phenobench.lock``; each image is
then fetched only as the object that the index lists, and verified.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench import lock
from phenobench.cards import load
from phenobench.downloads import fetch_file
from phenobench.errors import InputError
from phenobench.files import atomic, cache_dir, sha256_of
from phenobench.images import read_image
from phenobench.profiles import ROLES
from phenobench.profiles.left_out import NO_IMAGES, NO_METADATA, counted, joined, labelled, left_out
from phenobench.profiles.settings import Reading
from phenobench.profiles.well_table import read_wells
from phenobench.s3 import Bucket, Mirror, S3Object
from phenobench.screens import Screen, SiteImage
from phenobench.screens.gallery_card import GalleryCard, Table
from phenobench.screens.gallery_index import Place, PlateImages, index_plate, read_index
from phenobench.screens.gallery_wells import BATCH, PLATE, SOURCE, WELL, wells_of
from phenobench.screens.illumination import corrected, holding
from phenobench.screens.sites import site_of

_log = logging.getLogger("phenobench")
# A source and the plate's barcode.
_Plate = tuple[str, str]


def load_gallery(path: Path, root: Path | None = None, reading: Reading | None = None) -> Screen:
    """The screen of a card: wells from its tables; images are fetched when they are asked for.

    Args:
        path: the card.
        root: a folder as this function fills it, in place of the one in the cache.
        reading: its exclusions are added to the card's.

    Raises:
        InputError: the card is malformed, a table or a plate cannot be had or read, or a plate has
            no negative control.
    """
    card = load(path, GalleryCard)
    gallery = _Gallery(card, root or cache_dir() / "screens" / card.id)
    wells, lost, places, said = gallery.wells(reading.exclude if reading else ())
    plates = {plate: gallery.plate(places[plate]) for plate in dict.fromkeys(_plates(wells))}
    wells, without = _with_images(wells, pd.concat([wells, lost]), plates)
    lost = joined([lost, without])
    _require_controls(card, wells)
    return Screen(
        id=card.id,
        revision="",
        licence=card.licence,
        wells=wells,
        channels=tuple(card.channels),
        images=lambda rows: gallery.images(rows, plates),
        images_sha256=_content(card, wells, plates),
        dropped=counted(lost),
        left_out=lost,
        notes=(*said, *_notes(card, plates), *filter(None, [card.note])),
    )


def fetch_gallery(path: Path) -> list[Path]:
    """Fetch all images of a card's screen, plate by plate.

    Returns:
        The files in the cache.

    Raises:
        InputError: as ``load_gallery``, or a file cannot be had.
    """
    card = load(path, GalleryCard)
    gallery = _Gallery(card, cache_dir() / "screens" / card.id)
    wells, _, places, _ = gallery.wells(())
    paths = []
    for plate, of_plate in groupby(zip(_plates(wells), wells[WELL], strict=True), key=lambda well: well[0]):
        images = gallery.plate(places[plate])
        paths += gallery.fetch(images.place, images.objects(well for _, well in of_plate))
    return paths


class _Gallery:
    """A card's files: in the bucket, and in the folder that mirrors it."""

    def __init__(self, card: GalleryCard, folder: Path) -> None:
        self.card = card
        self.folder = folder
        self.bucket = Bucket(card.bucket, card.region)
        self.mirror = Mirror(self.bucket, folder)
        self.function = holding()

    def wells(
        self, exclude: tuple[str, ...]
    ) -> tuple[pd.DataFrame, pd.DataFrame, dict[_Plate, Place], tuple[str, ...]]:
        """Wells that can be scored, sorted; those left out, with the reason; where plates are; and notes on labels."""
        card = self.card
        table = wells_of(card, self._table_at, self._table)
        where = Path(f"wells of {card.id}")
        conditions = (*(one for one in card.exclude if _occurs(one, table)), *exclude)
        # A plate cannot do without negative controls; the others may be of plates that the card leaves out.
        labels = tuple(
            f"{condition}:{kind}"
            for kind, of_kind in card.controls.items()
            for condition in of_kind
            if kind == "negcon" or _occurs(condition, table)
        )
        wells, row, why, notes = read_wells(table, where, Reading(columns=card.roles, label=labels, exclude=conditions))
        wells, marked = labelled(wells)
        lost = joined([left_out(table[row < 0], why[row < 0]), marked])
        # The folder of a plate's batch, whatever column has the role of the batch.
        places = dict(zip(_plates(table), map(Place, table[SOURCE], table[BATCH], table[PLATE]), strict=True))
        return wells, lost, places, notes

    def plate(self, place: Place) -> PlateImages:
        """What images a plate has: from its index, which is made at its first use."""
        path = self.folder / "index" / f"{place.source}/{place}.csv"

        def make() -> bytes:
            _log.info("listing the images of %s, plate %s", self.card.id, place)
            return index_plate(self.card, self.bucket, place).to_csv(index=False, lineterminator="\n").encode()

        return read_index(_held(path, f"{self.card.id}/{place.source}/{place}", make), self.card, place)

    def fetch(self, place: Place, objects: list[S3Object]) -> list[Path]:
        """Objects of a plate as files, fetched where they are not here."""
        record = self.folder / "index" / f"{place.source}/{place}.sha256"
        self.mirror.fetch(objects, record, f"{self.card.id}, plate {place.plate}")
        return [self.mirror.path(one.key) for one in objects]

    def images(self, rows: pd.DataFrame, plates: Mapping[_Plate, PlateImages]) -> Iterator[SiteImage]:
        """The fields of some wells, in order; what they need of a plate is fetched before its first field."""
        wells = zip(_plates(rows), rows[WELL], rows.index.tolist(), strict=True)
        for plate, of_plate in groupby(wells, key=lambda well: well[0]):
            images = plates[plate]
            needed = [(row, well) for _, well, row in of_plate]
            self.fetch(images.place, images.objects(well for _, well in needed))
            functions = [self.function(self.mirror.path(one.key)) for one in images.illumination]
            for row, well in needed:
                for site, files in images.sites[well]:
                    yield self._field(row, site, files, functions)

    def _field(self, row: int, site: str, files: tuple[S3Object, ...], functions: list[np.ndarray]) -> SiteImage:
        paths = [self.mirror.path(one.key) for one in files]
        field = site_of(row, site, paths, map(read_image, paths))
        if field.damage or not functions:
            return field
        return replace(field, pixels=np.stack([*map(corrected, field.pixels, functions, paths)]))

    def _table(self, table: Table) -> Path:
        if table.url:
            return fetch_file(table.url, self.folder / "tables" / table.url.rpartition("/")[2], table.sha256)
        return self._table_at(table.key or "", table.sha256)

    def _table_at(self, key: str, sha256: str | None = None) -> Path:
        return _held(self.mirror.path(key), f"{self.card.id}/{key}", lambda: self.bucket.read(key), sha256)


def _occurs(condition: str, table: pd.DataFrame) -> bool:
    column, _, value = condition.partition("=")
    return column not in table or bool((table[column] == value).any())


def _held(path: Path, name: str, make: Callable[[], bytes], sha256: str | None = None) -> Path:
    """A small file, made at its first use and held to the hash that is given, else to the one in the lock."""
    wanted = sha256 or lock.pinned(name)
    arrived = sha256_of(path) if path.is_file() else None
    if arrived is None or wanted not in (None, arrived):
        content = make()
        arrived = hashlib.sha256(content).hexdigest()
        if wanted not in (None, arrived):
            raise InputError(
                f"{name} has sha256 {arrived} in place of {wanted}: it changed at its source; to accept that, remove "
                f"{'the hash from the card' if sha256 else f'its table from {lock.lock_path()}'} and run again"
            )
        with atomic(path) as temporary:
            temporary.write_bytes(content)
    if wanted is None:
        lock.pin(name, arrived)
    return path


def _plates(wells: pd.DataFrame) -> list[_Plate]:
    """The plate of each well; sources may name theirs alike."""
    return list(zip(wells[SOURCE], wells[PLATE], strict=True))


def _with_images(
    wells: pd.DataFrame, known: pd.DataFrame, plates: Mapping[_Plate, PlateImages]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Wells that have images, numbered anew, and those left out: wells without images, and images without a well.

    ``known`` are all wells that tables speak of, left out or not.
    """
    there = np.array(
        [well in plates[plate].sites for plate, well in zip(_plates(wells), wells[WELL], strict=True)], bool
    )
    spoken = set(zip(_plates(known), known[WELL], strict=True))
    strays = [
        (*plate, well) for plate, images in plates.items() for well in images.sites if (plate, well) not in spoken
    ]
    without = left_out(wells[~there], NO_IMAGES)
    stray = left_out(pd.DataFrame(strays, columns=[SOURCE, PLATE, WELL]), NO_METADATA)
    return wells[there].reset_index(drop=True), joined([without, stray])


def _require_controls(card: GalleryCard, wells: pd.DataFrame) -> None:
    if wells.empty:
        raise InputError(f"{card.id}: no well is left that has both images and metadata; exclude fewer")
    plates = pd.Series(_plates(wells), index=wells.index)
    controlled = set(plates[wells[ROLES["pert_type"]] == "negcon"])
    for source, plate in plates:
        if (source, plate) not in controlled:
            raise InputError(
                f"{card.id}: plate {plate} of {source} has no negative control with images; mend controls in the card, "
                "or leave the plate out of its batches"
            )


def _content(card: GalleryCard, wells: pd.DataFrame, plates: Mapping[_Plate, PlateImages]) -> str:
    """The hash of what is in the images: their ETags, as long as nobody has seen the pixels."""
    digest = hashlib.sha256(json.dumps([list(card.channels), card.illumination]).encode())
    for plate, well in zip(_plates(wells), wells[WELL], strict=True):
        images = plates[plate]
        content = [[site, [one.etag for one in files]] for site, files in images.sites[well]]
        digest.update(json.dumps([content, [one.etag for one in images.illumination]]).encode())
    return digest.hexdigest()


def _notes(card: GalleryCard, plates: Mapping[_Plate, PlateImages]) -> Iterator[str]:
    yield f"illumination functions were {'divided out' if card.illumination else 'not applied'}"
    incomplete = [(images.place, *one) for images in plates.values() for one in images.incomplete]
    if incomplete:
        place, well, site, channel = incomplete[0]
        yield (
            f"{len(incomplete)} sites that lack the file of a channel were left out "
            f"(first: plate {place}, well {well}, site {site}, {channel})"
        )
