"""From images to well-level profiles: a plate at a time, each kept as soon as it is whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.profiles import ROLES, Profiles
from phenobench.screens import Screen, SiteImage
from phenobench.site_cache import kept_sites

# Bytes of images that are embedded at a time; activations of the networks here are of the same order.
_BATCH_BYTES = 16 << 20

# Called with the wells that are done and the number of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Plate:
    """A plate's name, its rows in the screen's wells, and the files that its profiles and its sites' features go to."""

    name: str
    rows: np.ndarray
    path: Path
    sites: Path | None


def embed(
    screen: Screen,
    adapter: ImageAdapter,
    folder: Path,
    key: str,
    progress: Progress = lambda done, total: None,
    sites: Path | None = None,
) -> Profiles:
    """Embed a screen's images plate by plate; a plate whose file is there under the same key is kept.

    Args:
        screen: has images.
        adapter: the model.
        folder: one parquet file of profiles a plate goes here, and nothing else.
        key: what the embeddings follow from (weights, screen, card); part of each file.
        progress: wells done and wells in all.
        sites: where the features of sites are kept, for a model whose pooling may change under them.

    Returns:
        Profiles in the order of ``screen.wells``; wells without an image are left out and counted.

    Raises:
        InputError: the screen has no images, an image cannot be read, or the folder holds plates
            that were made from something else.
    """
    if screen.images is None:
        raise InputError(f"the screen {screen.id} has no images; score embeddings with --profiles instead")
    done = 0
    rows, features = [], []
    for plate in _plates(screen, folder, sites):
        kept = _read(plate, screen, key)
        if kept is None:
            tell = partial(_advance, progress, done, len(screen.wells))
            kept = _embed_plate(plate, screen.images, screen, adapter, tell)
            Profiles(screen.wells.iloc[kept[0]], kept[1], key=key).write(plate.path)
        rows.append(kept[0])
        features.append(kept[1])
        done += len(plate.rows)
        progress(done, len(screen.wells))
    order = np.argsort(np.concatenate(rows), kind="stable")
    found = np.concatenate(rows)[order]
    dropped = dict(screen.dropped)
    if len(found) < len(screen.wells):
        dropped["no image"] = len(screen.wells) - len(found)
    return Profiles(screen.wells.iloc[found], np.concatenate(features)[order], dropped=dropped, key=key)


def features_of_sites(
    screen: Screen, adapter: ImageAdapter, sites: Path | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a model makes of sites before wells are pooled, plate by plate, kept as ``embed`` keeps it.

    Args:
        screen: has images.
        adapter: the model.
        sites: the folder that ``embed`` is given.

    Yields:
        The row of the well of each site (n,), and the features of the sites (n, ...).

    Raises:
        InputError: the screen has no images, or one cannot be read.
    """
    if screen.images is None:
        raise InputError(f"the screen {screen.id} has no images; take one that has")
    for plate in _plates(screen, Path(), sites):
        yield kept_sites(plate.sites, partial(_embed_sites, plate, screen.images, screen, adapter, lambda done: None))


def _advance(progress: Progress, start: int, total: int, more: int) -> None:
    progress(start + more, total)


def _plates(screen: Screen, folder: Path, sites: Path | None) -> Iterator[_Plate]:
    codes, names = Profiles(screen.wells, np.empty((len(screen.wells), 0), np.float32)).groups("plate")
    for code, name in enumerate(names):
        given = name.removeprefix("plate ")
        # Characters of a plate's name that a file's cannot have, or that would leave the folder. Names that are then
        # alike are told apart by a hash.
        stem = re.sub(r"[^A-Za-z0-9._+-]+", "_", given)
        if stem != given:
            stem = f"{stem[:100]}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"
        kept = None if sites is None else sites / f"{stem}.npz"
        yield _Plate(given, np.flatnonzero(codes == code), folder / f"{stem}.parquet", kept)


def _read(plate: _Plate, screen: Screen, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The rows and features of a plate that is there already; None where it has to be made."""
    if not plate.path.exists():
        return None
    there = Profiles.read(plate.path)
    if there.key != key:
        raise InputError(
            f"{plate.path} was made from other weights, images or settings; give another folder, or remove it"
        )
    wells = pd.Series(plate.rows, index=screen.wells[ROLES["well"]].iloc[plate.rows])
    return wells.loc[there.role("well")].to_numpy(), there.features


def _embed_plate(
    plate: _Plate,
    images: Callable[[pd.DataFrame], Iterator[SiteImage]],
    screen: Screen,
    adapter: ImageAdapter,
    progress: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the wells that have images, ascending, and their pooled features."""
    rows, features = kept_sites(plate.sites, partial(_embed_sites, plate, images, screen, adapter, progress))
    return np.unique(rows), adapter.pool(features, rows)


def _embed_sites(
    plate: _Plate,
    images: Callable[[pd.DataFrame], Iterator[SiteImage]],
    screen: Screen,
    adapter: ImageAdapter,
    progress: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """The row of the well of each site, and the features of sites."""
    features: list[np.ndarray] = []
    rows: list[int] = []
    for batch in _batches(images(screen.wells.iloc[plate.rows])):
        wells = screen.wells[ROLES["well"]].astype(str).loc[[site.row for site in batch]]
        names = [f"{screen.id}/{plate.name}/{well}/{site.site}" for well, site in zip(wells, batch, strict=True)]
        features.append(adapter.site_features(np.stack([site.pixels for site in batch]), screen.channels, names))
        rows += [site.row for site in batch]
        progress(len(set(rows)))
    if not rows:
        raise InputError(f"{plate.path.stem}: no well of this plate has an image; check the screen's files")
    return np.array(rows), np.concatenate(features)


def _batches(sites: Iterator[SiteImage]) -> Iterator[list[SiteImage]]:
    """Sites of one size and type, as many as fit the budget; the cut depends on the plate's sites alone."""
    batch: list[SiteImage] = []
    for site in sites:
        full = batch and (len(batch) + 1) * site.pixels.nbytes > _BATCH_BYTES
        other = batch and (site.pixels.shape, site.pixels.dtype) != (batch[0].pixels.shape, batch[0].pixels.dtype)
        if full or other:
            yield batch
            batch = []
        batch.append(site)
    if batch:
        yield batch
