"""Which images a plate of the Cell Painting Gallery has: well, site and channel of every file, its size and ETag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from phenobench.errors import InputError
from phenobench.profiles.well_names import normalize_well, normalize_wells
from phenobench.s3 import Bucket, S3Object
from phenobench.screens.gallery_card import FileNames, GalleryCard, LoadData
from phenobench.screens.gallery_wells import read_text_table, require_columns

# Of a plate's sites; a plate that lacks more is not what its card says.
MOST_MISSING = 0.05
_COLUMNS = ["well", "site", "channel", "key", "size", "etag"]
# The site under which the index has the illumination functions of a plate.
_ILLUMINATION = "illumination"


@dataclass(frozen=True)
class Place:
    """A plate and the folders that it is in."""

    source: str
    batch: str
    plate: str

    def __str__(self) -> str:
        return f"{self.batch}/{self.plate}"


@dataclass(frozen=True)
class PlateImages:
    """The images of a plate.

    Attributes:
        place: the plate.
        sites: well -> its sites in order, each with one object a channel, in the order of the card's channels.
        illumination: the illumination functions in that order; none where the card does not use them.
        incomplete: sites that lack a channel, with its name.
    """

    place: Place
    sites: Mapping[str, tuple[tuple[str, tuple[S3Object, ...]], ...]]
    illumination: tuple[S3Object, ...]
    incomplete: tuple[tuple[str, str, str], ...]

    def objects(self, wells: Iterable[str]) -> list[S3Object]:
        """All files that some wells need; a well without images needs none."""
        sites = (site for well in wells for site in self.sites.get(well, ()))
        return [*self.illumination, *(one for _, files in sites for one in files)]


def index_plate(card: GalleryCard, bucket: Bucket, place: Place) -> pd.DataFrame:
    """The index of a plate, as text: a row a file, sorted; size and ETag are "" where the bucket lacks the file.

    Raises:
        InputError: the plate's table or folder cannot be read, or says two things of one image.
    """
    images = card.images
    rows = (
        _from_load_data(card, bucket, place, images)
        if isinstance(images, LoadData)
        else _from_file_names(card, bucket, place, images)
    )
    table = pd.DataFrame(rows, columns=_COLUMNS[:4])
    repeated = table.duplicated(["well", "site", "channel"])
    if repeated.any():
        one = table[repeated].iloc[0]
        raise InputError(
            f"{card.id}: well {one['well']}, site {one['site']} of plate {place} has channel {one['channel']} twice "
            f"(again in {one['key']}); name other files in the card"
        )
    if card.illumination:
        folder = f"{card.project}/{place.source}/images/{place.batch}/illum/{place.plate}"
        functions = [
            ("", _ILLUMINATION, channel, f"{folder}/{place.plate}_Illum{names[0]}.npy")
            for channel, names in card.channels.items()
        ]
        table = pd.concat([table, pd.DataFrame(functions, columns=_COLUMNS[:4])], ignore_index=True)
    there = {
        one.key: one for folder in sorted({_parent(key) for key in table["key"]}) for one in bucket.objects(folder)
    }
    table["size"] = [str(there[key].size) if key in there else "" for key in table["key"]]
    table["etag"] = [there[key].etag if key in there else "" for key in table["key"]]
    return table.sort_values(["well", "site", "channel"], kind="stable").reset_index(drop=True)


def read_index(path: Path, card: GalleryCard, place: Place) -> PlateImages:
    """A plate's images from its index.

    Raises:
        InputError: the file is no index, an illumination function is absent, or too many sites lack a channel.
    """
    table = read_text_table(path)
    require_columns(table, _COLUMNS, path)
    files: dict[tuple[str, str], dict[str, S3Object]] = {}
    for well, site, channel, key, size, etag in zip(*(table[name] for name in _COLUMNS), strict=True):
        of_site = files.setdefault((well, site), {})
        if size:
            of_site[channel] = S3Object(key, int(size), etag)
    illumination = _illumination(card, place, files.pop(("", _ILLUMINATION), {})) if card.illumination else ()
    sites: dict[str, list[tuple[str, tuple[S3Object, ...]]]] = {}
    incomplete = []
    for (well, site), of_site in files.items():
        missing = [channel for channel in card.channels if channel not in of_site]
        if missing:
            incomplete.append((well, site, missing[0]))
        else:
            sites.setdefault(well, []).append((site, tuple(of_site[channel] for channel in card.channels)))
    if len(incomplete) > MOST_MISSING * len(files):
        well, site, channel = incomplete[0]
        raise InputError(
            f"{card.id}: {len(incomplete)} of {len(files)} sites of plate {place} lack the file of a channel (first: "
            f"well {well}, site {site}, {channel}); leave the plate out, or mend channels in the card"
        )
    ordered = {well: tuple(sorted(of_well, key=_site_order)) for well, of_well in sites.items()}
    return PlateImages(place, ordered, illumination, tuple(incomplete))


def _illumination(card: GalleryCard, place: Place, files: Mapping[str, S3Object]) -> tuple[S3Object, ...]:
    for channel in card.channels:
        if channel not in files:
            raise InputError(
                f"{card.id}: plate {place} has no illumination function of {channel}; "
                "set illumination = false in the card"
            )
    return tuple(files[channel] for channel in card.channels)


def _site_order(site: tuple[str, tuple[S3Object, ...]]) -> tuple[int, str]:
    """Sites are numbered, with zeros in front or without."""
    return (len(site[0]), site[0])


def _from_load_data(
    card: GalleryCard, bucket: Bucket, place: Place, layout: LoadData
) -> Iterator[tuple[str, str, str, str]]:
    workspace = f"{card.project}/{place.source}/workspace"
    key = f"{workspace}/load_data_csv/{place.batch}/{place.plate}/{layout.table}"
    table = read_text_table(Path(key), bucket.read(key))
    address = f"s3://{card.bucket}/{key}"
    require_columns(table, ["Metadata_Well", "Metadata_Site"], address)
    wells = normalize_wells(table["Metadata_Well"], lambda row: f"{address}: row {row + 1}")
    for channel, names in card.channels.items():
        name = next((name for name in names if f"FileName_Orig{name}" in table or f"URL_Orig{name}" in table), None)
        if name is None:
            tried = " or ".join(f"FileName_Orig{name}" for name in names)
            raise InputError(f"{address} has no column {tried} for channel {channel}; mend channels in the card")
        if f"URL_Orig{name}" in table:
            files = table[f"URL_Orig{name}"]
        else:
            require_columns(table, [f"PathName_Orig{name}"], address)
            files = table[f"PathName_Orig{name}"].str.rstrip("/") + "/" + table[f"FileName_Orig{name}"]
        for well, site, file in zip(wells, table["Metadata_Site"], files, strict=True):
            yield well, site, channel, _key(card, place, file)


def _key(card: GalleryCard, place: Place, address: str) -> str:
    """The key of a file that CellProfiler was given by an address or a path, which may be of another machine."""
    _, project, rest = address.partition(f"{card.project}/{place.source}/")
    if project:
        # Addresses of the web spell blanks and the like; keys do not.
        return project + (unquote(rest) if address.startswith("http") else rest)
    folder = f"{card.project}/{place.source}/images/{place.batch}"
    _, batch, rest = address.partition(f"/{place.batch}/")
    return f"{folder}/{rest}" if batch else f"{folder}/images/{place.plate}/{address.rpartition('/')[2]}"


def _from_file_names(
    card: GalleryCard, bucket: Bucket, place: Place, layout: FileNames
) -> Iterator[tuple[str, str, str, str]]:
    above = f"{card.project}/{place.source}/images/{place.batch}/images"
    # Microscopes add date and measurement to the barcode.
    folders = [name for name in bucket.folders(above) if re.fullmatch(rf"{re.escape(place.plate)}(__.*)?", name)]
    if not folders:
        raise InputError(f"s3://{card.bucket}/{above} has no folder of plate {place.plate}; mend batches of {card.id}")
    channels = {name: channel for channel, names in card.channels.items() for name in names}
    pattern = re.compile(layout.pattern)
    for folder in folders:
        for one in bucket.objects(f"{above}/{folder}"):
            match = pattern.fullmatch(one.key.removeprefix(f"{above}/{folder}/"))
            if match and match["channel"] in channels:
                groups = match.groupdict()
                well = groups.get("well") or f"{_letters(int(groups['row']))}{int(groups['column']):02d}"
                yield normalize_well(well), match["site"], channels[match["channel"]], one.key


def _letters(row: int) -> str:
    """A well's row by its number from 1: 1 is A, 27 is AA."""
    first, last = divmod(row - 1, 26)
    return ("" if first == 0 else chr(ord("A") + first - 1)) + chr(ord("A") + last)


def _parent(key: str) -> str:
    return key.rpartition("/")[0]
