"""RxRx3-core from the Hugging Face hub: its wells with their images, or with embeddings that its makers computed.

Kraus et al. 2025 (arXiv 2503.20158). What the data set is (addresses, columns, channels, controls) stands in the cards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.cards import DataFile, find, load, read_toml
from phenobench.descriptions import Description
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.hub import data_is_here, fetch_data
from phenobench.images import DamagedImageError
from phenobench.lock import known
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.formats import ColumnRules, read_label_table, read_table
from phenobench.profiles.labels import spell
from phenobench.profiles.left_out import NO_IMAGES, NO_METADATA, counted, joined, left_out
from phenobench.profiles.settings import Reading
from phenobench.profiles.well_table import read_wells
from phenobench.provenance import text_sha256
from phenobench.screens import Screen, SiteImage, screen_of
from phenobench.screens.catalogue import Derived
from phenobench.screens.shards import Layout, find_images
from phenobench.screens.sites import site_of
from phenobench.texts import Texts, from_descriptions

# Wells whose encoded images are held at a time: about 20 MB.
_WELLS_AT_ONCE = 256
# The data set has one field of each well.
_SITE = "1"


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    licence: str
    source: Annotated[str, Field(pattern=r"^https://")]
    citation: str | None = None
    note: str | None = None


class TextColumns(BaseModel):
    """Metadata columns of what a model may be told of a perturbation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    smiles: str
    cell_type: str


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
        texts: where descriptions of perturbations come from.
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
    texts: TextColumns
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
        left_out: the others, with the reason.
        notes: what a reader of scores should know of their labels.
    """

    wells: pd.DataFrame
    rows: np.ndarray
    ids: pd.Series
    keys: list[str]
    left_out: pd.DataFrame
    notes: tuple[str, ...]


def load_rxrx3_core(path: Path, root: Path | None, cards: Path | None, reading: Reading | None = None) -> Screen:
    """The screen of a card of this data set, from files that have been fetched or, with ``root``, from that folder.

    Exclusions of ``reading`` are added to the card's, and its columns go before the card's roles.

    Raises:
        InputError: the card is malformed, or files are absent, damaged or not of the data set's layout.
    """
    if read_toml(path)["kind"] == "rxrx3-core":
        return _with_images(load(path, ImagesCard), root, reading)
    card = load(path, EmbeddingsCard)
    return _with_embeddings(card, load(find(cards).screens[card.of], ImagesCard), root, reading)


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


def _with_images(card: ImagesCard, root: Path | None, reading: Reading | None) -> Screen:
    source = _given(card, card.id, [card.metadata, *card.shards.files], root)
    found = _read_wells(card, source.paths[0], reading)
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
                of_well = [encoded[row] for row in rows[well].tolist()]
                called = [f"{channel} of {names[well]}" for channel in card.channels]
                yield site_of(well, _SITE, called, map(_decoded, of_well, called))

    strays = _strays(shards.strangers, "/")
    lost = joined(
        [
            found.left_out,
            left_out(found.wells[~imaged], NO_IMAGES),
            left_out(strays, NO_METADATA),
        ]
    )
    return Screen(
        id=card.id,
        revision=source.revision,
        licence=card.licence,
        wells=wells,
        channels=card.channels,
        images=images,
        texts=_texts(card, wells),
        images_sha256=text_sha256(*card.channels, *map(_content_sha256, source.paths[1:])),
        dropped=counted(lost),
        left_out=lost,
        notes=(*found.notes, *filter(None, [card.note])),
    )


def _with_embeddings(card: EmbeddingsCard, base: ImagesCard, root: Path | None, reading: Reading | None) -> Screen:
    source = _given(base, card.id, [base.metadata, card.file], root)
    found = _read_wells(base, source.paths[0], reading)
    table = read_table(source.paths[1], ColumnRules(metadata=frozenset([base.well_id])))
    if base.well_id not in table.metadata.column_names:
        raise InputError(f"{source.paths[1]} has no column '{base.well_id}'; give the file of {card.source}")
    names = pd.Series(spell([table.metadata.column(base.well_id)]), dtype=object).astype(str)
    if names.duplicated().any():
        raise InputError(
            f"{source.paths[1]}: the well {names[names.duplicated()].iloc[0]} is there twice; keep one row"
        )
    row = pd.Index(names).get_indexer(pd.Index(found.ids.iloc[found.rows]))
    embedded = row >= 0
    if not embedded.any():
        raise InputError(f"no well of {source.paths[0]} has a row in {source.paths[1]}; give files of one data set")
    strays = _strays(names[~names.isin(found.ids)], "_")
    lost = joined(
        [
            found.left_out,
            left_out(found.wells[~embedded], "metadata without embeddings"),
            left_out(strays, "embeddings without metadata"),
        ]
    )
    features = table.features[row[embedded]]
    wells = found.wells[embedded]
    profiles = Profiles(wells, features, table.feature_names, dropped=counted(lost), left_out=lost)
    screen = screen_of(profiles, card.id, revision=source.revision, licence=card.licence, model=card.model)
    notes = (*screen.notes, *found.notes, *filter(None, [base.note, card.note]))
    return replace(screen, texts=_texts(base, screen.wells), notes=notes)


def _read_wells(card: ImagesCard, path: Path, reading: Reading | None) -> _Wells:
    asked = reading or Reading()
    exclude = (*card.exclude, *asked.exclude)
    roles = {**card.roles, **asked.columns}
    try:
        table = read_label_table(path)
    except InputError as error:
        raise InputError(f"{error}; fetch it again") from error
    fields = [field for _, field, _, _ in Formatter().parse(card.well) if field]
    for name in (card.well_id, *card.columns, *fields):
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; it has {', '.join(map(str, table.columns)) or 'none'}")
    named = table[fields].itertuples(index=False, name=None)
    keys = pd.Series([card.well.format(**dict(zip(fields, row, strict=True))) for row in named], dtype=object)
    if keys.duplicated().any():
        raise InputError(f"{path}: the well {keys[keys.duplicated()].iloc[0]} is there twice; keep one row")
    metadata = table[list(card.columns)].rename(columns=dict(card.columns))
    for name, rule in card.derive.items():
        metadata[name] = metadata[rule.column].str.extract(rule.pattern, expand=False)
    wells, place, why, notes = read_wells(
        metadata, path, Reading(columns=roles, negcon=card.negcon, exclude=exclude, exclude_files=asked.exclude_files)
    )
    rows = np.zeros(len(wells), dtype=np.int64)
    rows[place[place >= 0]] = np.flatnonzero(place >= 0)
    lost = left_out(metadata[place < 0], why[place < 0])
    return _Wells(wells, rows, table[card.well_id].astype(str), keys.tolist(), lost, notes)


def _texts(card: ImagesCard, wells: pd.DataFrame) -> Texts | None:
    """What a model may be told of each perturbation; None where several have one text, such as guides of a gene."""
    columns = card.texts
    treated = wells[wells[ROLES["pert_type"]].isin(["trt", "poscon"])]
    label = treated[ROLES["perturbation"]]
    genes = treated[ROLES["gene"]].notna()
    said = pd.DataFrame(
        {
            "label": label,
            "kind": np.where(genes, "crispr", "compound"),
            "name": treated[columns.name],
            "cell_type": treated[columns.cell_type],
            # Without what ChemAxon adds behind a blank.
            "smiles": treated[columns.smiles]
            .astype("str")
            .str.split()
            .str[0]
            .where(~genes & treated[columns.smiles].notna()),
        }
    ).drop_duplicates()
    if said["label"].duplicated().any() or said.drop(columns="label").duplicated().any():
        return None
    return from_descriptions(
        [
            Description(label, cell_type, "crispr", name, f"{name}_guide_1")
            if kind == "crispr"
            else Description(label, cell_type, "compound", name, smiles if isinstance(smiles, str) else None)
            for label, kind, name, cell_type, smiles in sorted(said.itertuples(index=False, name=None))
        ]
    )


def _strays(names: Iterable[str], separator: str) -> pd.DataFrame:
    """Plate and well of names of wells that the metadata do not have."""
    parts = [name.rpartition(separator) for name in names]
    return pd.DataFrame({ROLES["plate"]: [plate for plate, _, _ in parts], ROLES["well"]: [well for *_, well in parts]})


def _decoded(encoded: bytes | None, name: str) -> np.ndarray:
    """An image, uint8 (h, w).

    Raises:
        DamagedImageError: it cannot be decoded.
    """
    import imagecodecs

    try:
        image = np.asarray(imagecodecs.jpeg2k_decode(encoded or b""))
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DamagedImageError(f"{name} cannot be decoded ({reason}); fetch its shard again") from error
    if image.ndim != 2 or image.dtype != np.uint8:
        raise DamagedImageError(
            f"{name} is an image of shape {image.shape} and type {image.dtype}; fetch its shard again"
        )
    return image


def _content_sha256(path: Path) -> str:
    # The hub's cache names large files by their content, and they were verified when they were fetched.
    return path.readlink().name if path.is_symlink() and len(path.readlink().name) == 64 else sha256_of(path)
