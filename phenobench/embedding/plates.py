"""Plates: which there are, which are made already, and the files that each goes to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenobench.background import Pace
from phenobench.embedding.sites import Plate, sites_of_plates
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.plate_scale import sixteen_bit_record
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.left_out import joined, left_out
from phenobench.screens import Screen
from phenobench.site_cache import Sites, keep_sites, read_sites

# Why a well has no profile.
NO_IMAGE, DAMAGED = "no image", "damaged images"
# So many sites are named, and of so many plates: a note is for a reader.
_NAMED = 3

# Called with the wells that are done and the number of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Files:
    """Where a plate's profiles go, and its sites' features if they are kept."""

    profiles: Path
    sites: Path | None


@dataclass(frozen=True)
class _Made:
    """A plate's wells as rows of the screen's, ascending, and their profiles with what its file records."""

    rows: np.ndarray
    profiles: Profiles


def embed(
    screen: Screen,
    adapter: ImageAdapter,
    folder: Path,
    key: str,
    progress: Progress = lambda done, total: None,
    sites: Path | None = None,
    pace: Pace | None = None,
) -> Profiles:
    """Embed a screen's images plate by plate; a plate whose file is there under the same key is kept.

    Images are decoded by threads, ahead of the model. The bytes of the result follow from ``key`` and the machine, and
    neither from the number of threads nor from where a run before was cut. Several runs may fill one folder at once.

    Args:
        screen: has images.
        adapter: the model.
        folder: one parquet file of profiles a plate goes here, and nothing else.
        key: what the embeddings follow from (weights, screen, card); part of each file.
        progress: wells done and wells in all.
        sites: where the features of sites are kept, for a model whose pooling may change under them.
        pace: told where the time goes.

    Returns:
        Profiles in the order of ``screen.wells``. Wells without an image are left out and counted; a site with an image
        that cannot be decoded is left out, and counted and named in a note. Where images have 16 bits, ``steps`` says
        how they came to 8.

    Raises:
        InputError: the screen has no images, more than a few sites of a plate cannot be decoded, or the folder holds
            plates that were made from something else.
    """
    if screen.images is None:
        raise InputError(f"the screen {screen.id} has no images; score embeddings with --profiles instead")
    plates = dict(_plates(screen, folder, sites))
    made = {plate: there for plate, files in plates.items() if (there := _read(plate, files, screen, key)) is not None}
    done = sum(len(plate.rows) for plate in made)
    progress(done, len(screen.wells))
    absent = {plate: files.sites for plate, files in plates.items() if plate not in made}

    def tell(plate: Plate, wells: int) -> None:
        progress(done + wells, len(screen.wells))

    with closing(_sites(screen, adapter, absent, pace or Pace(), tell)) as arriving:
        for plate, of_plate in arriving:
            made[plate] = _pooled(plate, of_plate, screen, adapter, key)
            # Another run may have been here meanwhile, for the same or for something else.
            if _read(plate, plates[plate], screen, key) is None:
                made[plate].profiles.write(plates[plate].profiles)
            done += len(plate.rows)
            progress(done, len(screen.wells))
    return _joined([made[plate] for plate in plates], screen, key)


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
        InputError: the screen has no images, or more than a few of a plate cannot be decoded.
    """
    if screen.images is None:
        raise InputError(f"the screen {screen.id} has no images; take one that has")
    plates = {plate: files.sites for plate, files in _plates(screen, Path(), sites)}
    with closing(_sites(screen, adapter, plates, Pace(), lambda plate, wells: None)) as arriving:
        for _, of_plate in arriving:
            yield of_plate.rows, of_plate.features


def _plates(screen: Screen, folder: Path, sites: Path | None) -> Iterator[tuple[Plate, _Files]]:
    codes, names = Profiles(screen.wells, np.empty((len(screen.wells), 0), np.float32)).groups("plate")
    for code, name in enumerate(names):
        given = name.removeprefix("plate ")
        # Characters of a plate's name that a file's cannot have, or that would leave the folder. Names that are then
        # alike are told apart by a hash.
        stem = re.sub(r"[^A-Za-z0-9._+-]+", "_", given)
        if stem != given:
            stem = f"{stem[:100]}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"
        kept = None if sites is None else sites / f"{stem}.npz"
        yield Plate(given, np.flatnonzero(codes == code)), _Files(folder / f"{stem}.parquet", kept)


def _read(plate: Plate, files: _Files, screen: Screen, key: str) -> _Made | None:
    """A plate that is there already; None where it has to be made."""
    if not files.profiles.exists():
        return None
    there = Profiles.read(files.profiles)
    if there.key != key:
        raise InputError(
            f"{files.profiles} was made from other weights, images or settings; give another folder, or remove it"
        )
    wells = pd.Series(plate.rows, index=screen.wells[ROLES["well"]].iloc[plate.rows])
    return _Made(wells.loc[there.role("well")].to_numpy(), there)


def _sites(
    screen: Screen,
    adapter: ImageAdapter,
    plates: Mapping[Plate, Path | None],
    pace: Pace,
    progress: Callable[[Plate, int], None],
) -> Generator[tuple[Plate, Sites], None, None]:
    """The features of each plate's sites, in order: kept ones, and those that are made and kept now."""
    absent = [plate for plate, path in plates.items() if read_sites(path) is None]
    with closing(sites_of_plates(screen, adapter, absent, pace, progress)) as arriving:
        for plate, path in plates.items():
            if plate in absent:
                sites = next(arriving)
                keep_sites(path, sites)
            else:
                there = read_sites(path)
                if there is None:
                    raise InputError(f"{path} was removed or changed while it was needed; run again")
                sites = there
            yield plate, sites


def _pooled(plate: Plate, sites: Sites, screen: Screen, adapter: ImageAdapter, key: str) -> _Made:
    rows = np.unique(sites.rows)
    lost = len({row for row, _ in sites.damaged} - set(rows.tolist()))
    steps = (sixteen_bit_record(adapter.sixteen_bit),) if sites.sixteen_bit else ()
    profiles = Profiles(
        screen.wells.iloc[rows],
        adapter.pool(sites.features, sites.rows),
        steps=steps,
        dropped={DAMAGED: lost} if lost else {},
        notes=tuple(_damage(plate, sites, screen)),
        key=key,
    )
    return _Made(rows, profiles)


def _damage(plate: Plate, sites: Sites, screen: Screen) -> Iterator[str]:
    """What a reader should know of a plate's damaged sites; no paths, which differ between machines."""
    if sites.damaged:
        wells = screen.wells[ROLES["well"]].astype(str)
        named = ", ".join(f"well {wells.iloc[row]} site {site}" for row, site in sites.damaged[:_NAMED])
        more = ", ..." if len(sites.damaged) > _NAMED else ""
        yield (
            f"plate {plate.name}: {len(sites.damaged)} of {len(sites.damaged) + len(sites.rows)} sites have an image "
            f"that cannot be used and were left out ({named}{more})"
        )


def _joined(made: list[_Made], screen: Screen, key: str) -> Profiles:
    """All plates in the order of the screen's wells, with what is lost counted and listed."""
    rows = np.concatenate([one.rows for one in made])
    order = np.argsort(rows, kind="stable")
    found = rows[order]
    absent = np.setdiff1d(np.arange(len(screen.wells)), found)
    dropped, listed = dict(screen.dropped), screen.left_out
    damaged = sum(one.profiles.dropped.get(DAMAGED, 0) for one in made)
    if damaged:
        dropped[DAMAGED] = damaged
    if len(absent) > damaged:
        dropped[NO_IMAGE] = len(absent) - damaged
    if len(absent):
        # A file counts its lost wells; which of two reasons each had is not in it.
        reason = " or ".join(name for name, count in ((NO_IMAGE, len(absent) - damaged), (DAMAGED, damaged)) if count)
        listed = joined([listed, left_out(screen.wells.iloc[absent], reason)])
    return Profiles(
        screen.wells.iloc[found],
        np.concatenate([one.profiles.features for one in made])[order],
        steps=_different(step for one in made for step in one.profiles.steps),
        dropped=dropped,
        notes=_few([note for one in made for note in one.profiles.notes]),
        key=key,
        left_out=listed,
    )


def _different(steps: Iterator[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for step in steps:
        if step not in found:
            found.append(step)
    return tuple(found)


def _few(notes: list[str]) -> tuple[str, ...]:
    """The first notes; how many plates have one, where there are more."""
    if len(notes) <= _NAMED:
        return tuple(notes)
    return (*notes[:_NAMED], f"{len(notes)} plates in all have such sites; the files of the others name theirs")
