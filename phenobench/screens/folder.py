"""A folder of one's own images: ``screen.csv``, one row an image, and the images it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.images import read_image
from phenobench.profiles import METADATA_PREFIX, ROLES
from phenobench.profiles.formats import read_label_table
from phenobench.profiles.left_out import NO_IMAGES, NO_METADATA, counted, joined, labelled, left_out
from phenobench.profiles.settings import Reading
from phenobench.profiles.well_table import read_wells
from phenobench.results import as_label
from phenobench.screens import Screen, SiteImage
from phenobench.screens.illumination import corrected, holding
from phenobench.screens.sites import site_of

TABLE = "screen.csv"
_SITE = "Metadata_Site"
_IMAGE_COLUMNS = (_SITE, "channel", "path")
# The .npy file of the function that an image is divided by; all images have one, or none has.
_ILLUMINATION = "illumination"
# Where a well is says nothing of what is in it.
_PLACE = [ROLES[role] for role in ("source", "batch", "plate", "well")]

# The image of a channel and, where there are such, its illumination function.
_Files = tuple[str, ...]
# Well -> its sites in order, each with its files in the order of the channels.
_Sites = dict[int, list[tuple[str, list[_Files]]]]


def load_folder(folder: Path, reading: Reading | None = None) -> Screen:
    """The screen of a folder with ``screen.csv``.

    One row an image: ``Metadata_Plate, Metadata_Well, Metadata_Site, channel, path`` (relative to
    the folder) and any other ``Metadata_`` columns, which are equal in all rows of a well; ``illumination`` may name
    the function that each image is divided by. A row with neither site, channel nor path is a well without images.

    Raises:
        InputError: a column is missing, a well's rows disagree, a site lacks a channel or has it
            twice, an image file is absent, or no well is left; file, row or well are named.
    """
    path = folder / TABLE
    table = _read(path)
    table, wells, lost, said = _wells(table, path, reading or Reading())
    for column in ("path", _ILLUMINATION):
        absent = [name for name in table.get(column, ()) if not (folder / name).is_file()]
        if absent:
            raise InputError(
                f"{path}: {folder / absent[0]} is not there ({len(absent)} such files); mend the {column} column"
            )
    # Sorted, so that no result depends on the order of the rows.
    channels = tuple(sorted(set(table["channel"])))
    sites = _sites(table, wells, channels, path)
    lit, function = _ILLUMINATION in table, holding()

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for well in rows.index.tolist():
            for site, files in sites[well]:
                paths = [folder / name for name, *_ in files]
                field = site_of(well, site, paths, map(read_image, paths))
                if lit and field.damage is None:
                    functions = [function(folder / name) for _, name in files]
                    field = replace(field, pixels=np.stack([*map(corrected, field.pixels, functions, paths)]))
                yield field

    return Screen(
        id=as_label(folder.resolve().name),
        revision="",
        licence="given by path",
        wells=wells,
        channels=channels,
        images=images,
        images_sha256=_content(folder, channels, sites),
        dropped=counted(lost),
        left_out=lost,
        notes=(*said, *(["illumination functions were divided out"] if lit else [])),
    )


def _content(folder: Path, channels: tuple[str, ...], sites: _Sites) -> str:
    """The hash of the images: where each is counts as much as its content, what its file is called does not."""
    # Of a function that thousands of images share, once.
    of_function = cache(lambda name: sha256_of(folder / name))

    def hashes(files: _Files) -> str | list[str]:
        image, *function = files
        digest = sha256_of(folder / image)
        return [digest, *map(of_function, function)] if function else digest

    content = {
        str(well): [[site, [*map(hashes, of_site)]] for site, of_site in of_well]
        for well, of_well in sorted(sites.items())
    }
    return hashlib.sha256(json.dumps([channels, content]).encode()).hexdigest()


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise InputError(f"{path} does not exist; a folder of images needs it, one row an image")
    table = read_label_table(path)
    for name in (ROLES["plate"], ROLES["well"], *_IMAGE_COLUMNS):
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; it has {', '.join(table.columns) or 'none'}")
    # A role's column is missing where it is empty; what is no role is text all the same.
    table = table.where(table.notna(), "")
    if table.empty:
        raise InputError(f"{path} has no rows; give one row an image")
    imaged = (table[[*_IMAGE_COLUMNS]] != "").any(axis=1)
    for name in (ROLES["plate"], ROLES["well"], *_IMAGE_COLUMNS, *({_ILLUMINATION} & {*table.columns})):
        empty = ((table[name] == "") & (imaged | (name in _PLACE))).to_numpy()
        if empty.any():
            raise InputError(f"{path}: row {int(empty.argmax()) + 1} has no {name}; fill it in")
    known = (*_IMAGE_COLUMNS, _ILLUMINATION)
    strange = [name for name in table.columns if not name.startswith(METADATA_PREFIX) and name not in known]
    if strange:
        raise InputError(f"{path}: the column '{strange[0]}' must start with {METADATA_PREFIX}; rename it")
    return table


def _wells(
    table: pd.DataFrame, path: Path, reading: Reading
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """The rows of images with the ``row`` of their well, the wells, those left out, with the reason, and notes."""
    metadata = table.drop(columns=[*_IMAGE_COLUMNS, _ILLUMINATION], errors="ignore")
    wells, row, why, notes = read_wells(metadata, path, reading)
    excluded = left_out(table[row < 0], why[row < 0]).drop_duplicates()
    said = (metadata.drop(columns=_PLACE, errors="ignore") != "").any(axis=1)
    # A screen that says nothing of any well can be embedded all the same.
    spoken = wells.index.isin(row[said]) | (not said.any())
    unspoken = left_out(wells[~spoken], NO_METADATA)
    wells, marked = labelled(wells[spoken])
    imaged = wells.index.isin(row[table["path"] != ""])
    without = left_out(wells[~imaged], NO_IMAGES)
    wells = wells[imaged]
    lost = joined([excluded, unspoken, marked, without])
    if wells.empty:
        raise InputError(f"{path}: no well is left that has both images and metadata ({counted(lost)}); exclude fewer")
    number = pd.Series(range(len(wells)), index=wells.index)
    table = table.assign(row=pd.Series(row, index=table.index).map(number))
    table = table[(table["path"] != "") & table["row"].notna()]
    return table.astype({"row": int}), wells.reset_index(drop=True), lost, notes


def _sites(table: pd.DataFrame, wells: pd.DataFrame, channels: tuple[str, ...], path: Path) -> _Sites:
    """For each well its sites in order, each with its files in the order of the channels."""

    def place(well: int, site: str) -> str:
        plate = wells[ROLES["plate"]].iloc[well]
        return f"{path}: site {site} of well {wells[ROLES['well']].iloc[well]} of plate {plate}"

    found: dict[int, dict[str, dict[str, _Files]]] = {row: {} for row in range(len(wells))}
    named = [table[name] for name in ("path", _ILLUMINATION) if name in table]
    for well, site, channel, *files in zip(table["row"], table[_SITE], table["channel"], *named, strict=True):
        of_site = found[well].setdefault(site, {})
        if channel in of_site:
            raise InputError(f"{place(well, site)} has channel '{channel}' twice; give each once")
        of_site[channel] = tuple(files)
    sites: _Sites = {}
    for well, of_well in found.items():
        for site, by_channel in sorted(of_well.items()):
            missing = [name for name in channels if name not in by_channel]
            if missing:
                raise InputError(f"{place(well, site)} has no channel '{missing[0]}'; add its row")
            sites.setdefault(well, []).append((site, [by_channel[name] for name in channels]))
    return sites
