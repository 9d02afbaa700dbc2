"""Wells of the Cell Painting Gallery: from platemaps and tables of metadata to one row a well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from phenobench.errors import InputError
from phenobench.profiles import METADATA_PREFIX, ROLES
from phenobench.profiles.formats import read_label_table
from phenobench.profiles.well_names import normalize_wells
from phenobench.screens.gallery_card import Batch, GalleryCard, Table

PLATE, WELL, BATCH, SOURCE = (ROLES[role] for role in ("plate", "well", "batch", "source"))
PLATEMAP = METADATA_PREFIX + "Plate_Map_Name"

# The content of a file by its key in the bucket, and of one by its card.
ReadKey = Callable[[str], Path]
ReadTable = Callable[[Table], Path]


def wells_of(card: GalleryCard, read_key: ReadKey, read_table: ReadTable) -> pd.DataFrame:
    """The wells of all plates with all metadata, as text, "" where there is none; names ``Metadata_...``.

    Raises:
        InputError: a table cannot be had or read, lacks a column, or says two things of one well.
    """
    wells = _listed(card, card.wells, read_table) if card.wells else _laid_out(card, read_key)
    wells[WELL] = normalize_wells(wells[WELL], lambda row: f"wells of {card.id}: row {row + 1}").astype(object)
    for table in card.tables:
        wells = _joined(wells, table, read_table(table))
    return wells


def read_text_table(path: Path, content: bytes | None = None) -> pd.DataFrame:
    """A table of labels, "" where there is none; ``content`` in place of the file's.

    Raises:
        InputError: it is no such table.
    """
    table = read_label_table(path, content)
    return table.where(table.notna(), "")


def require_columns(table: pd.DataFrame, names: list[str], path: Path | str) -> None:
    """Refuse a table without a column.

    Raises:
        InputError: naming the table, the first column that it lacks, and what it has.
    """
    for name in names:
        if name not in table:
            raise InputError(f"{path} has no column '{name}'; it has {', '.join(map(str, table.columns)) or 'none'}")


def _laid_out(card: GalleryCard, read_key: ReadKey) -> pd.DataFrame:
    """Wells of plates that have a platemap each: the layout of ``workspace/metadata/platemaps``."""
    parts = []
    for batch in card.batches:
        folder = f"{card.project}/{batch.source}/workspace/metadata/platemaps/{batch.name}"
        path = read_key(f"{folder}/barcode_platemap.csv")
        barcodes = read_text_table(path)
        require_columns(barcodes, ["Assay_Plate_Barcode", "Plate_Map_Name"], path)
        map_of = dict(zip(barcodes["Assay_Plate_Barcode"], barcodes["Plate_Map_Name"], strict=True))
        for plate in batch.plates or map_of:
            if plate not in map_of:
                raise InputError(f"{path} has no plate {plate}; mend batches of {card.id}")
            wells = _platemap(read_key(f"{folder}/platemap/{map_of[plate]}.txt"))
            parts.append(wells.assign(**_of_plate(batch, plate), **{PLATEMAP: map_of[plate]}))
    return _with_text(pd.concat(parts, ignore_index=True))


def _platemap(path: Path) -> pd.DataFrame:
    table = read_text_table(path)
    require_columns(table, ["well_position"], path)
    return _canonical(table.rename(columns={"well_position": WELL}))


def _listed(card: GalleryCard, spec: Table, read_table: ReadTable) -> pd.DataFrame:
    """Wells of a table that has all of them, such as JUMP's ``well.csv.gz``."""
    plates = pd.DataFrame(
        [_of_plate(batch, plate) for batch in _with_plates(card, read_table) for plate in batch.plates]
    )
    path = read_table(spec)
    table = read_text_table(path)
    require_columns(table, list(spec.on.values()), path)
    table = _canonical(table.rename(columns={theirs: ours for ours, theirs in spec.on.items()}))
    require_columns(table, [PLATE, WELL], path)
    keys = [name for name in spec.on if name in plates]
    wells = plates.merge(table.drop(columns=[name for name in plates if name in table and name not in keys]), on=keys)
    absent = sorted(set(plates[PLATE]) - set(wells[PLATE]))
    if absent:
        raise InputError(f"{path} has no plate {absent[0]}; mend batches of {card.id}")
    return _with_text(wells)


def _with_plates(card: GalleryCard, read_table: ReadTable) -> list[Batch]:
    """The batches of a card, each with its plates."""
    if card.plates is None:
        return list(card.batches)
    path = read_table(card.plates)
    table = read_text_table(path)
    require_columns(table, list(card.plates.on.values()), path)
    table = table.rename(columns={theirs: ours for ours, theirs in card.plates.on.items()})
    require_columns(table, [SOURCE, BATCH, PLATE], path)
    known = {key: of_batch.tolist() for key, of_batch in table.groupby([SOURCE, BATCH])[PLATE]}
    found = []
    for batch in card.batches:
        plates = batch.plates or tuple(known.get((batch.source, batch.name), ()))
        if not plates:
            raise InputError(f"{path} has no plate of batch {batch.name} of {batch.source}; mend batches of {card.id}")
        found.append(batch.model_copy(update={"plates": plates}))
    return found


def _of_plate(batch: Batch, plate: str) -> dict[str, str]:
    return {SOURCE: batch.source, BATCH: batch.name, PLATE: plate}


def _joined(wells: pd.DataFrame, table: Table, path: Path) -> pd.DataFrame:
    """Wells with the columns of a table; what wells have already is filled where it is empty."""
    right = read_text_table(path)
    require_columns(right, list(table.on.values()), path)
    require_columns(wells, list(table.on), f"the wells that {path} is joined to")
    keys = right[list(table.on.values())].agg("\x1f".join, axis=1)
    if keys.duplicated().any():
        value = keys[keys.duplicated()].iloc[0].replace("\x1f", ", ")
        raise InputError(f"{path} has {', '.join(table.on.values())} = '{value}' twice; give one row each")
    chosen = wells[PLATEMAP] == table.platemap if table.platemap else pd.Series(True, index=wells.index)
    row = wells[list(table.on)].agg("\x1f".join, axis=1).map(pd.Series(right.index, index=keys)).where(chosen)
    columns = _canonical(right.drop(columns=list(table.on.values())))
    found = columns.reindex(row.to_numpy()).set_axis(wells.index)
    for name in columns:
        there = wells[name] if name in wells else pd.Series("", index=wells.index)
        wells = wells.assign(**{str(name): there.where(there != "", found[name])})
    return _with_text(wells)


def _canonical(table: pd.DataFrame) -> pd.DataFrame:
    """Columns under their ``Metadata_`` names."""
    return table.rename(
        columns={name: name if name.startswith(METADATA_PREFIX) else METADATA_PREFIX + name for name in table.columns}
    )


def _with_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(object).where(table.notna(), "").apply(lambda column: column.str.strip())
