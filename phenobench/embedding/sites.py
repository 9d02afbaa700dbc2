"""From the images of plates to the features of their sites: decoded ahead, in batches, without the damaged ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby

import numpy as np
import pandas as pd

from phenobench.background import Pace, ahead, available_cores, wanted
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.plate_scale import PlateScale, plate_scale, value_counts
from phenobench.profiles import ROLES
from phenobench.screens import Screen, SiteImage
from phenobench.site_cache import Sites

_log = logging.getLogger("phenobench")

# Bytes that are decoded ahead for each thread: a well of 16 sites of 5 channels of 1080 x 1080 pixels is 187 MB.
_AHEAD_A_THREAD = 256 << 20
# Wells that a thread reads at a time: of about so many bytes, since a loader reads neighbours faster together.
_TOGETHER, _MOST_TOGETHER = 16 << 20, 32
# A plate with a larger share of damaged sites is no plate to score; one site may always be damaged.
_MOST_DAMAGED = 0.05
# Of a plate, so many damaged images are told of in the log.
_TOLD = 3


@dataclass(frozen=True, eq=False)
class Plate:
    """A plate's name and its rows in the screen's wells, ascending."""

    name: str
    rows: np.ndarray


# A plate's number and some of its sites, or whatever else is made of some wells.
_Numbered = tuple[int, list[SiteImage]]


@dataclass
class _Reader:
    """Reads wells for threads, a few at a time, and learns how large they are."""

    images: Callable[[pd.DataFrame], Iterator[SiteImage]]
    wells: pd.DataFrame
    _bytes_a_well: float = field(default=float("inf"))

    def calls(
        self, plates: Sequence[Plate], change: Callable[[SiteImage], SiteImage]
    ) -> Iterator[Callable[[], _Numbered]]:
        """Calls that read the sites of plates, in order; sites are changed as soon as they are decoded."""
        for number, plate in enumerate(plates):
            start = 0
            while start < len(plate.rows):
                together = max(1, min(_MOST_TOGETHER, int(_TOGETHER // self._bytes_a_well)))
                yield partial(self._read, number, plate.rows[start : start + together], change)
                start += together

    def _read(self, number: int, rows: np.ndarray, change: Callable[[SiteImage], SiteImage]) -> _Numbered:
        sites = []
        for site in self.images(self.wells.iloc[rows]):
            wanted()
            sites.append(site if site.damage is not None else change(site))
        self._bytes_a_well = max(1.0, _size((number, sites)) / len(rows))
        return number, sites


def sites_of_plates(
    screen: Screen,
    adapter: ImageAdapter,
    plates: Sequence[Plate],
    pace: Pace,
    progress: Callable[[Plate, int], None],
) -> Generator[Sites, None, None]:
    """What is known of each plate's sites, in order. Images of later plates are decoded meanwhile.

    Args:
        screen: has images.
        adapter: the model.
        plates: some of the screen's.
        pace: told where the time goes.
        progress: told of the wells of a plate that are done.

    Raises:
        InputError: a plate has no image, or too many that cannot be used, or one that the model does not take.
    """
    if screen.images is None or not plates:
        return
    reader = _Reader(screen.images, screen.wells)
    if adapter.sixteen_bit == "plate-percentiles" and _sixteen_bit(screen, plates[0]):
        # The second look at a plate needs all of the first: nothing of the next plate is decoded before.
        for plate in plates:
            scale = _scale(plate, reader, adapter, pace)
            with closing(_decoded(reader, [plate], partial(_scaled, scale), adapter, pace)) as sites:
                found = _features(plate, (site for _, some in sites for site in some), screen, adapter, pace, progress)
                yield replace(found, sixteen_bit=True)
        return
    with closing(_decoded(reader, plates, _as_is, adapter, pace)) as sites:
        for number, of_plate in groupby(sites, key=lambda numbered: numbered[0]):
            some = (site for _, some in of_plate for site in some)
            yield _features(plates[number], some, screen, adapter, pace, progress)


def _decoded(
    reader: _Reader,
    plates: Sequence[Plate],
    change: Callable[[SiteImage], SiteImage],
    adapter: ImageAdapter,
    pace: Pace,
) -> Generator[_Numbered, None, None]:
    """Sites with the number of their plate. Threads take the cores that the model leaves, or all of them in turns."""
    cores = available_cores()
    in_turns = adapter.cores >= cores
    threads = cores if in_turns else cores - adapter.cores
    return ahead(reader.calls(plates, change), _size, threads, threads * _AHEAD_A_THREAD, pace, in_turns=in_turns)


def _size(numbered: _Numbered) -> int:
    # A memory-mapped image is in memory only when it is looked at.
    return sum(site.pixels.nbytes for site in numbered[1])


def _as_is(site: SiteImage) -> SiteImage:
    return site


def _sixteen_bit(screen: Screen, plate: Plate) -> bool:
    """Whether the first well's images have 16 bits; a loader's wells are all of one kind."""
    images = screen.images
    if images is None:
        return False
    for row in plate.rows:
        for site in images(screen.wells.iloc[[row]]):
            if site.damage is None:
                return site.pixels.dtype == np.uint16
    return False


def _scale(plate: Plate, reader: _Reader, adapter: ImageAdapter, pace: Pace) -> PlateScale | None:
    """A first look at all images of a plate, for the percentiles of each channel; None where none can be used."""
    counts: np.ndarray | None = None
    with closing(_decoded(reader, [plate], _counted, adapter, pace)) as looked_at:
        for _, some in looked_at:
            for site in some:
                if site.damage is None:
                    counts = site.pixels if counts is None else counts + site.pixels
    return None if counts is None else plate_scale(counts)


def _counted(site: SiteImage) -> SiteImage:
    """In place of the pixels, how often each value occurs in each channel."""
    return replace(site, pixels=value_counts(site.pixels))


def _scaled(scale: PlateScale | None, site: SiteImage) -> SiteImage:
    return site if scale is None else replace(site, pixels=scale.to_eight_bit(site.pixels))


def _features(
    plate: Plate,
    sites: Iterator[SiteImage],
    screen: Screen,
    adapter: ImageAdapter,
    pace: Pace,
    progress: Callable[[Plate, int], None],
) -> Sites:
    """The features of a plate's sites, and which sites were left out."""
    features: list[np.ndarray] = []
    rows: list[int] = []
    damaged: list[tuple[SiteImage, str]] = []
    sixteen_bit = False
    names = screen.wells[ROLES["well"]].astype(str)

    def usable() -> Iterator[SiteImage]:
        for site in sites:
            if site.damage is None:
                yield site
            else:
                if len(damaged) < _TOLD:
                    _log.warning("%s, plate %s: a site is left out: %s", screen.id, plate.name, site.damage)
                damaged.append((site, site.damage))

    for batch in _batches(usable(), adapter.batch_bytes):
        keys = [f"{screen.id}/{plate.name}/{names.loc[site.row]}/{site.site}" for site in batch]
        with pace.timed("device"):
            # One large field needs no copy.
            stacked = batch[0].pixels[None] if len(batch) == 1 else np.stack([site.pixels for site in batch])
            features.append(adapter.site_features(stacked, screen.channels, keys))
        sixteen_bit |= stacked.dtype == np.uint16
        rows += [site.row for site in batch]
        progress(plate, len(set(rows)))
    _refuse_damaged(plate, damaged, len(rows))
    lost = tuple((site.row, site.site) for site, _ in damaged)
    return Sites(np.array(rows), np.concatenate(features), lost, sixteen_bit)


def _refuse_damaged(plate: Plate, damaged: list[tuple[SiteImage, str]], usable: int) -> None:
    """Stop where a plate has no site that can be used, or too few.

    Raises:
        InputError: with the count and the first reason.
    """
    if not usable and not damaged:
        raise InputError(f"{plate.name}: no well of this plate has an image; check the screen's files")
    every = usable + len(damaged)
    if not usable or len(damaged) > max(1, _MOST_DAMAGED * every):
        raise InputError(
            f"plate {plate.name}: the images of {len(damaged)} of {every} sites cannot be used, more than "
            f"{_MOST_DAMAGED:.0%} (first: {damaged[0][1]}); mend the files, or leave the plate out"
        )


def _batches(sites: Iterator[SiteImage], budget: int) -> Iterator[list[SiteImage]]:
    """Sites of one size and type, as many as fit the budget; the cut depends on the plate's sites alone."""
    batch: list[SiteImage] = []
    for site in sites:
        full = batch and (len(batch) + 1) * site.pixels.nbytes > budget
        other = batch and (site.pixels.shape, site.pixels.dtype) != (batch[0].pixels.shape, batch[0].pixels.dtype)
        if full or other:
            yield batch
            batch = []
        batch.append(site)
    if batch:
        yield batch
