"""RxRx3-core from the Hugging Face hub: its wells with their images, or with embeddings that its makers computed.

Kraus et al. 2025 (arXiv 2503.20158). What the data set is (addresses, columns, channels, controls) stands in the cards.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.cards import DataFile, find, load, read_toml
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.hub import data_is_here, fetch_data
from phenobench.lock import known
from phenobench.profiles import ROLES, Profiles
from phenobench.provenance import text_sha256
from phenobench.reading import Reading, read_wells
from phenobench.screens import Screen, SiteImage, screen_of
from phenobench.screens.catalogue import Derived
from phenobench.screens.shards import Layout, find_images
from phenobench.tables import read_table

_log = logging.getLogger("phenobench")

# Wells whose encoded images are held at a time: about 20 MB.
_WELLS_AT_ONCE = 256
# The data set has one field of each well.
_SITE = "1"
_LEFT_OUT = [ROLES["plate"], ROLES["well"], "reason"]


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    licence: str
    source: Annotated[str, Field(pattern=r"^https://")]
    citation: str | None = None
    note: str | None = None


class ImagesCard(_Card):
    """``screens/rxrx3-core.toml``: the data set, and what its metadata mean.

    Attributes:
        hub: the repository of the data set.
        revision: the commit; where it is not known yet, the branch whose commit the first download pins.
        metadata: the table of wells in there.
        well_id: its column that names a well.
        well: how a key of an image names a well, with fields that are columns of the table.
        columns: column of the table -> metadata column; others are left.
        derive: metadata column -> how it is made from another.
        roles: role -> metadata columns, where they are not called by it.
        negcon: ``Column=Value`` conditions of the negative controls.
        exclude: ``Column=Value`` conditions of wells to leave out.
        channels: their names, in the order of the numbers in keys.
        shards: the files of images.
    """

    kind: Literal["rxrx3-core"]
    hub: str
    revision: str = "main"
    metadata: str
    well_id: str
    well: str
    columns: Mapping[str, str]
    derive: Mapping[str, Derived]
    roles: Mapping[str, str]
    negcon: tuple[str, ...]
    exclude: tuple[str, ...]
    channels: tuple[str, ...]
    shards: Layout


class EmbeddingsCard(_Card):
    """``screens/rxrx3-core-<model>.toml``: embeddings that are published with the data set.

    Attributes:
        of: the screen whose wells they are of.
        file: a table with one row a well, in the screen's repository, that names wells as the table of wells does.
        model: the id of the model.
    """

    kind: Literal["rxrx3-core-embeddings"]
    of: str
    file: str
    model: str


@dataclass(frozen=True, eq=False)
class _Source:
    """Files of the data set, and what fixes them: the commit, none where they are given by path."""

    paths: list[Path]
    revision: str


@dataclass(frozen=True, eq=False)
class _Wells:
    """The wells that are scored, and the table of wells that they come from.

    Attributes:
        wells: n rows with roles.
        rows: the row of the table of each, int64 (n,).
        ids: the well of each row of the table.
        keys: the same as keys of images name it.
        left_out: plate, well and ``reason`` of the others.
    """

    wells: pd.DataFrame
    rows: np.ndarray
    ids: pd.Series
    keys: list[str]
    left_out: pd.DataFrame


def load_rxrx3_core(path: Path, root: Path | None, cards: Path | None) -> Screen:
    """The screen of a card of this data set, from files that have been fetched or, with ``root``, from that folder.

    Raises:
        InputError: the card is malformed, or files are absent, damaged or not of the data set's layout.
    """
    if read_toml(path)["kind"] == "rxrx3-core":
        return _with_images(load(path, ImagesCard), root)
    card = load(path, EmbeddingsCard)
    return _with_embeddings(card, load(find(cards).screens[card.of], ImagesCard), root)


def fetch(path: Path, accepted: Collection[str], cards: Path | None) -> list[Path]:
    """Fetch and verify the files of a card of this data set, all at one commit.

    Raises:
        InputError: the licence of the data set is not accepted, or the hub gives no file, or another than before.
    """
    base, names = _files(path, cards)
    table = fetch_data(base.id, [_on_hub(base, base.metadata)], accepted)
    return table + fetch_data(base.id, [_on_hub(base, name) for name in names[1:]], accepted)


def _files(path: Path, cards: Path | None) -> tuple[ImagesCard, list[str]]:
    """The card of the data set, and the files that a card needs, the table of wells first."""
    if read_toml(path)["kind"] == "rxrx3-core":
        base = load(path, ImagesCard)
        return base, [base.metadata, *base.shards.files]
    card = load(path, EmbeddingsCard)
    base = load(find(cards).screens[card.of], ImagesCard)
    return base, [base.metadata, card.file]


def _on_hub(card: ImagesCard, name: str) -> DataFile:
    """A file of the data set, at the commit of the table of wells once that is known."""
    file = DataFile(hub=card.hub, file=name, revision=card.revision, licence=card.licence, accept=True)
    commit = known(file.model_copy(update={"file": card.metadata})).revision
    return file.model_copy(update={"revision": commit}) if commit else file


def _given(card: ImagesCard, id: str, names: Sequence[str], root: Path | None) -> _Source:
    """Files of the data set in ``root``, else in the hub's cache.

    Raises:
        InputError: one is absent.
    """
    if root is not None:
        paths = [root / name for name in names]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise InputError(
                f"{absent[0]} is not there, one of {len(absent)} absent files of {id}; put them there as they lie at "
                f"{card.source}"
            )
        return _Source(paths, "")
    files = [_on_hub(card, name) for name in names]
    here = [data_is_here(file) for file in files]
    missing = [file.file for file, path in zip(files, here, strict=True) if path is None]
    if missing:
        raise InputError(
            f"{missing[0]} of {id} has not been fetched, one of {len(missing)} such files; fetch them with "
            f"`phenobench data get {id} --accept-licence {card.id}`, or name a folder that has them as its root in "
            "benchmark.toml"
        )
    return _Source([path for path in here if path is not None], files[0].revision)


def _with_images(card: ImagesCard, root: Path | None) -> Screen:
    source = _given(card, card.id, [card.metadata, *card.shards.files], root)
    found = _read_wells(card, source.paths[0])
    shards = find_images(source.paths[1:], card.shards, found.keys, card.channels)
    rows = shards.rows[found.rows]
    imaged = (rows >= 0).all(axis=1)
    if not imaged.any():
        raise InputError(f"no well of {source.paths[0]} has an image in {source.paths[1]} and the other shards")
    wells, rows = found.wells[imaged].reset_index(drop=True), rows[imaged]
    names = [found.keys[row] for row in found.rows[imaged].tolist()]

    def images(of: pd.DataFrame) -> Iterator[SiteImage]:
        numbers = of.index.tolist()
        for start in range(0, len(numbers), _WELLS_AT_ONCE):
            some = numbers[start : start + _WELLS_AT_ONCE]
            encoded = shards.read(rows[some].ravel())
            for well in some:
                pixels = _decoded([encoded[row] for row in rows[well].tolist()], names[well])
                if pixels is not None:
                    yield SiteImage(well, _SITE, pixels)

    strays = [(*name.rpartition("/")[::2], "images without metadata") for name in shards.strangers]
    left_out = _left_out(found, ~imaged, "metadata without images", strays)
    return Screen(
        id=card.id,
        revision=source.revision,
        licence=card.licence,
        wells=wells,
        channels=card.channels,
        images=images,
        images_sha256=text_sha256(*card.channels, *map(_content_sha256, source.paths[1:])),
        dropped=_counted(left_out),
        left_out=left_out,
        notes=(card.note,) if card.note else (),
    )


def _with_embeddings(card: EmbeddingsCard, base: ImagesCard, root: Path | None) -> Screen:
    source = _given(base, card.id, [base.metadata, card.file], root)
    found = _read_wells(base, source.paths[0])
    table = read_table(source.paths[1], ("Metadata_",), frozenset([base.well_id]))
    if base.well_id not in table.metadata:
        raise InputError(f"{source.paths[1]} has no column '{base.well_id}'; give the file of {card.source}")
    names = table.metadata[base.well_id].astype(str)
    if names.duplicated().any():
        raise InputError(
            f"{source.paths[1]}: the well {names[names.duplicated()].iloc[0]} is there twice; keep one row"
        )
    row = pd.Index(names).get_indexer(pd.Index(found.ids.iloc[found.rows]))
    embedded = row >= 0
    if not embedded.any():
        raise InputError(f"no well of {source.paths[0]} has a row in {source.paths[1]}; give files of one data set")
    strays = [(*name.rpartition("_")[::2], "embeddings without metadata") for name in names[~names.isin(found.ids)]]
    left_out = _left_out(found, ~embedded, "metadata without embeddings", strays)
    features = table.features[row[embedded]]
    profiles = Profiles(found.wells[embedded], features, table.feature_names, dropped=_counted(left_out))
    screen = screen_of(profiles, card.id, revision=source.revision, licence=card.licence, model=card.model)
    return replace(screen, left_out=left_out, notes=(*screen.notes, *filter(None, [base.note, card.note])))


def _read_wells(card: ImagesCard, path: Path) -> _Wells:
    try:
        table = pd.read_csv(path, low_memory=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table ({str(error).splitlines()[0]}); fetch it again") from error
    fields = [field for _, field, _, _ in Formatter().parse(card.well) if field]
    for name in (card.well_id, *card.columns, *fields):
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; it has {', '.join(map(str, table.columns)) or 'none'}")
    named = table[fields].itertuples(index=False, name=None)
    keys = pd.Series([card.well.format(**dict(zip(fields, row, strict=True))) for row in named], dtype=object)
    if keys.duplicated().any():
        raise InputError(f"{path}: the well {keys[keys.duplicated()].iloc[0]} is there twice; keep one row")
    metadata = table[list(card.columns)].rename(columns=dict(card.columns))
    for number in metadata.select_dtypes("float"):
        metadata[number] = metadata[number].astype(object).map("{:g}".format, na_action="ignore")
    for name, rule in card.derive.items():
        metadata[name] = metadata[rule.column].astype("str").str.extract(rule.pattern, expand=False)
    reading = Reading(columns=card.roles, negcon=card.negcon, exclude=card.exclude)
    wells, place, _ = read_wells(metadata, path, reading)
    rows = np.zeros(len(wells), dtype=np.int64)
    rows[place[place >= 0]] = np.flatnonzero(place >= 0)
    reason = pd.Series("", index=metadata.index)
    for condition in card.exclude:
        column, _, value = condition.partition("=")
        reason[(metadata[column] == value) & (reason == "")] = f"excluded {condition}"
    left_out = metadata.assign(reason=reason).loc[place < 0, _LEFT_OUT]
    return _Wells(wells, rows, table[card.well_id].astype(str), keys.tolist(), left_out)


def _left_out(found: _Wells, without: np.ndarray, reason: str, strays: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Wells that are excluded, that nothing was published for, and that the metadata do not have, sorted."""
    lacking = found.wells[without].assign(reason=reason)[_LEFT_OUT]
    every = pd.concat([found.left_out, lacking, pd.DataFrame(strays, columns=_LEFT_OUT)])
    return every.sort_values(_LEFT_OUT, ignore_index=True)


def _counted(left_out: pd.DataFrame) -> dict[str, int]:
    return dict(sorted(Counter(left_out["reason"]).items()))


def _decoded(encoded: Sequence[bytes | None], name: str) -> np.ndarray | None:
    """The channels of a field, uint8 (c, h, w); None, and a line in the log, where one is damaged."""
    import imagecodecs

    try:
        images = [np.asarray(imagecodecs.jpeg2k_decode(data or b"")) for data in encoded]
        if any(image.ndim != 2 or image.dtype != np.uint8 for image in images):
            raise ValueError("no greyscale image of 8 bit")
        return np.stack(images)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        _log.warning("%s is left out: an image of it cannot be decoded (%s)", name, reason)
        return None


def _content_sha256(path: Path) -> str:
    # The hub's cache names large files by their content, and they were verified when they were fetched.
    return path.readlink().name if path.is_symlink() and len(path.readlink().name) == 64 else sha256_of(path)
