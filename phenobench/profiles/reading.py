"""From files to ``Profiles``: read, joined, roles assigned, and what cannot be scored away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from phenobench.errors import Faults, InputError
from phenobench.profiles.conditions import names_in
from phenobench.profiles.feature_columns import ColumnRules
from phenobench.profiles.feature_notes import notes_on_columns, notes_on_precision
from phenobench.profiles.files import find_files, names_of, partition_keys
from phenobench.profiles.formats import Table, column_names, read_table, separated
from phenobench.profiles.joining import Columns, Origin, joined_exact, joined_features, joined_records
from phenobench.profiles.labels import coded, plain
from phenobench.profiles.left_out import joined, left_out
from phenobench.profiles.missing import NOT_FINITE, keep_finite
from phenobench.profiles.precision import in_double
from phenobench.profiles.profiles import Profiles
from phenobench.profiles.roles import ROLES
from phenobench.profiles.settings import Reading
from phenobench.profiles.well_table import assigned_wells

__all__ = ["Reading", "label_spellings", "read_profiles"]

# The column that holds the plate where each file is one.
_FILE = "Metadata_File"


def read_profiles(paths: Sequence[str], reading: Reading) -> Profiles:
    """Read files, folders and globs into one table of well-level profiles.

    Raises:
        InputError: nothing to read, a column or value that is not there, an unreadable well name,
            two rows of one well, text or missing values in features; a sentence each, that names file and column.
    """
    files = find_files(paths)
    faults = Faults()
    tables = []
    for file in files:
        with faults.caught():
            tables.append(_read(file, reading))
    faults.raise_any()
    return _profiles(tables, files, reading)


def _profiles(tables: list[Table], files: list[Path], reading: Reading) -> Profiles:
    origin = Origin(files, np.cumsum([len(table.features) for table in tables]))
    features, names, notes = joined_features(tables, origin)
    idle = [name for name in reading.keep_features if name.strip() not in names]
    if idle:
        raise InputError(
            f"{origin}: --keep-feature {idle[0]} names no column of numbers that may be a feature; check it"
        )
    record = joined_records([table.record for table in tables], reading.columns)
    columns = _derived(Columns([table.metadata for table in tables], origin), reading.derive)
    if reading.plate_from_file:
        reading = _with_plate(reading, columns)
        columns = columns.with_column(reading.columns["plate"], origin.of_files(names_of(files)))
    assigned = assigned_wells(columns, reading, origin, record.roles, bare=any(table.bare for table in tables))
    keep, dropped, lost = assigned.why == "", dict(record.dropped), [assigned.left_out]
    for reason, count in assigned.counts.items():
        dropped[reason] = dropped.get(reason, 0) + count
    wells = assigned.wells
    if not len(wells):
        raise InputError(f"{origin}: no well is left after the exclusions; exclude fewer")
    if not keep.all():
        features = features[keep]
    faults = Faults()
    with faults.caught():
        finite = keep_finite(features, names, reading.nan, assigned.place, origin)
    if assigned.faults:
        faults.add(*assigned.faults)
    faults.raise_any()
    if not finite.wells.all():
        dropped[NOT_FINITE] = int((~finite.wells).sum())
        lost.append(left_out(wells[~finite.wells], NOT_FINITE))
        wells, features = wells[finite.wells], features[finite.wells]
    if not finite.features.all():
        features = features[:, finite.features]
        names = tuple(name for name, stays in zip(names, finite.features, strict=True) if stays)
    exact = {
        names.index(name): values[keep][finite.wells] for name, values in joined_exact(tables).items() if name in names
    }
    return Profiles(
        wells,
        features,
        names,
        record.steps,
        dropped,
        tuple(
            dict.fromkeys(
                [
                    *record.notes,
                    *(note for table in tables for note in table.notes),
                    *notes,
                    *notes_on_columns(columns, names, reading),
                    *notes_on_precision(tables, names),
                    *finite.notes,
                    *assigned.notes,
                ]
            )
        ),
        record.key if len(tables) == 1 else "",
        joined(lost),
        exact=in_double(features, exact) if exact else None,
    )


def _with_plate(reading: Reading, columns: Columns) -> Reading:
    """The same reading with a new column for the plate."""
    if "plate" in reading.columns:
        raise InputError("--plate-from-file and --column plate= both say what the plate is; give one of them")
    name = _FILE
    while name in columns:
        name += "_"
    return replace(reading, columns={**reading.columns, "plate": name})


def _read(file: Path, reading: Reading) -> Table:
    """A file as a table, with the keys of its partition."""
    keys = partition_keys(file)
    named = reading.role_columns
    in_conditions = names_in(reading.conditions, column_names(file)) if reading.conditions else frozenset()
    derived = {column for column, _ in reading.derive.values()}
    rules = ColumnRules(
        reading.all_prefixes,
        frozenset({*named, *in_conditions, *derived}),
        reading.feature_prefixes,
        frozenset(reading.keep_features),
    )
    return _with_keys(read_table(file, rules, reading.layer, reading.obsm), keys, file)


def _with_keys(table: Table, keys: Mapping[str, str | None], file: Path | None = None) -> Table:
    metadata = table.metadata
    for key, value in keys.items():
        if key in metadata.column_names:
            # A number in the file is spelled as the folder spells it.
            there = set(plain(Columns([metadata], file).coded(key, filter(None, [value]))).tolist())
            if there != {value}:
                raise InputError(
                    f"{file}: the column '{key}' says something else than the folder {key}={value}; rename one of them"
                )
            continue
        if key in table.feature_names:
            raise InputError(f"{file}: '{key}' is a feature of the file and a key of its folder; rename one of them")
        metadata = metadata.append_column(key, pa.array([value] * len(table.features), pa.string()))
    return replace(table, metadata=metadata) if keys else table


def _derived(columns: Columns, derive: Mapping[str, tuple[str, str]]) -> Columns:
    for name, (column, pattern) in derive.items():
        if name not in columns:
            labels = pd.Series(columns.labels(column), dtype=object).str.extract(pattern, expand=False)
            columns = columns.with_column(
                name, np.array([None if pd.isna(one) else one for one in labels], dtype=object)
            )
    return columns


def label_spellings(path: Path, column: str | None) -> frozenset[str]:
    """How a table of text spells perturbations; nothing where its format keeps numbers, or it has no such column."""
    if not path.name.lower().endswith(separated.SUFFIXES):
        return frozenset()
    name = column or ROLES["perturbation"]
    if name not in column_names(path):
        return frozenset()
    return frozenset(coded([separated.read_text(path, only=name).column(name)]).categories)
