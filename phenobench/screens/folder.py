"""A folder of one's own images: ``screen.csv``, one row an image, and the images it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.images import read_image
from phenobench.profiles import METADATA_PREFIX, ROLES
from phenobench.reading import Reading, read_wells
from phenobench.results import as_label
from phenobench.screens import Screen, SiteImage

TABLE = "screen.csv"
_SITE = "Metadata_Site"
_IMAGE_COLUMNS = ("channel", "path")


def load_folder(folder: Path, reading: Reading | None = None) -> Screen:
    """The screen of a folder with ``screen.csv``.

    One row an image: ``Metadata_Plate, Metadata_Well, Metadata_Site, channel, path`` (relative to
    the folder) and any other ``Metadata_`` columns, which are equal in all rows of a well.

    Raises:
        InputError: a column is missing, a well's rows disagree, a site lacks a channel or has it
            twice, or an image file is absent; file, row or well are named.
    """
    path = folder / TABLE
    table = _read(path)
    metadata = table.drop(columns=[_SITE, *_IMAGE_COLUMNS])
    wells, row, excluded = read_wells(metadata, path, reading or Reading())
    table = table.assign(row=row)[row >= 0]
    absent = [name for name in table["path"] if not (folder / name).is_file()]
    if absent:
        raise InputError(f"{path}: {folder / absent[0]} is not there ({len(absent)} such images); mend the path column")
    # Sorted, so that no result depends on the order of the rows.
    channels = tuple(sorted(set(table["channel"])))
    sites = _sites(table, wells, channels, path)
    # Which image is where counts as much as its content; what the file is called does not.
    content = {
        str(well): [[site, [sha256_of(folder / name) for name in files]] for site, files in of_well]
        for well, of_well in sorted(sites.items())
    }
    digest = hashlib.sha256(json.dumps([channels, content]).encode())

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for well in rows.index.tolist():
            for site, files in sites[well]:
                yield SiteImage(well, site, _stack(folder, files))

    return Screen(
        id=as_label(folder.resolve().name),
        revision="",
        licence="given by path",
        wells=wells,
        channels=channels,
        images=images,
        images_sha256=digest.hexdigest(),
        dropped={f"images {reason}": count for reason, count in excluded.items()},
    )


def _stack(folder: Path, files: list[str]) -> np.ndarray:
    loaded = [read_image(folder / name) for name in files]
    for name, image in zip(files, loaded, strict=True):
        if (image.shape, image.dtype) != (loaded[0].shape, loaded[0].dtype):
            raise InputError(
                f"{folder / name} is {image.shape} {image.dtype} and {files[0]} of the same site "
                f"{loaded[0].shape} {loaded[0].dtype}; give the channels of a site in one size and type"
            )
    return np.stack(loaded)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; a folder of images needs it, one row an image") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a table ({str(error).splitlines()[0]}); mend it") from error
    for name in (ROLES["plate"], ROLES["well"], _SITE, *_IMAGE_COLUMNS):
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; it has {', '.join(table.columns) or 'none'}")
        empty = (table[name].str.strip() == "").to_numpy()
        if empty.any():
            raise InputError(f"{path}: row {int(empty.argmax()) + 1} has no {name}; fill it in")
    if table.empty:
        raise InputError(f"{path} has no rows; give one row an image")
    strange = [name for name in table.columns if not name.startswith(METADATA_PREFIX) and name not in _IMAGE_COLUMNS]
    if strange:
        raise InputError(f"{path}: the column '{strange[0]}' must start with {METADATA_PREFIX}; rename it")
    return table.apply(lambda column: column.str.strip())


def _sites(
    table: pd.DataFrame, wells: pd.DataFrame, channels: tuple[str, ...], path: Path
) -> dict[int, list[tuple[str, list[str]]]]:
    """For each well its sites in order, each with its files in the order of the channels."""
    sites: dict[int, list[tuple[str, list[str]]]] = {}
    for row, of_well in table.groupby("row", sort=True):
        well = int(str(row))
        place = f"well {wells[ROLES['well']].iloc[well]} of plate {wells[ROLES['plate']].iloc[well]}"
        for site, group in of_well.groupby(_SITE, sort=True):
            files = dict(zip(group["channel"], group["path"], strict=True))
            if len(files) < len(group):
                repeated = group["channel"][group["channel"].duplicated()].iloc[0]
                raise InputError(f"{path}: site {site} of {place} has channel '{repeated}' twice; give each once")
            missing = [name for name in channels if name not in files]
            if missing:
                raise InputError(f"{path}: site {site} of {place} has no channel '{missing[0]}'; add its row")
            sites.setdefault(well, []).append((str(site), [files[name] for name in channels]))
    return sites
