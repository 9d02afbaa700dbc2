"""From files to ``Profiles``: several files into one table, roles, controls, exclusions, missing values."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.errors import InputError, unknown
from phenobench.profiles import METADATA_PREFIX, PERT_TYPES, PROVENANCE_KEY, ROLES, Profiles
from phenobench.tables import SUFFIXES, Table, read_table
from phenobench.wells import normalize_wells

NanPolicy = Literal["error", "drop-features", "drop-wells"]
NAN_POLICIES: tuple[NanPolicy, ...] = ("error", "drop-features", "drop-wells")
# What files write where they mean "nothing"; blanks of all kinds are stripped first.
_EMPTY = {"": None, "nan": None, "NaN": None, "None": None, "<NA>": None}


@dataclass(frozen=True)
class Reading:
    """How to read a file of profiles.

    Attributes:
        columns: role -> column name.
        prefixes: what the names of metadata columns start with.
        negcon: ``Column=Value`` conditions; matching wells are negative controls.
        exclude: ``Column=Value`` conditions; matching wells are left out and counted.
        label: ``Column=Value:type`` conditions; matching wells get this ``pert_type``, and an
            empty perturbation becomes the value.
        nan: what happens to NaN and infinite features.
        derive: new column -> (column, pattern): the first group of a regular expression, missing
            where it does not match; a column that the file has already stays as it is.
        wells: whether rows are wells, with a plate and a well each (the text side has neither).
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = (METADATA_PREFIX,)
    negcon: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    nan: NanPolicy = "error"
    derive: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    wells: bool = True


def read_profiles(paths: Sequence[str], reading: Reading) -> Profiles:
    """Read files, folders and globs into one table of well-level profiles.

    Raises:
        InputError: nothing to read, a column or value that is not there, an unreadable well name,
            two rows of one well, text or missing values in features; each names file and column.
    """
    for role in reading.columns:
        if role not in ROLES:
            raise unknown("role", role, ROLES)
    files = _expand(paths)
    where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    tables = [read_table(file, reading.prefixes, frozenset(reading.columns.values())) for file in files]
    table, notes = _join(tables)
    table = replace(table, metadata=_derive(table.metadata, reading.derive, where))
    metadata = _assign_roles(table.metadata, reading, where)
    metadata, warnings = _assign_types(metadata, table.metadata, reading, where)
    keep, dropped = _exclude(metadata, table.metadata, reading.exclude, where)
    features = table.features
    if not keep.all():
        metadata, features = metadata[keep].reset_index(drop=True), features[keep]
    if reading.wells:
        metadata = _check_wells(metadata, where)
    features, names, keep, lost = _missing(features, table.feature_names, reading.nan, where)
    if lost:
        notes = (*notes, f"{lost} features with NaN or infinite values were left out")
    if not keep.all():
        dropped["NaN or infinite features"] = int((~keep).sum())
        metadata = metadata[keep]
    try:
        profiles = Profiles(metadata, features, names, _steps(files), dropped, (*notes, *warnings))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if not len(profiles):
        raise InputError(f"{where}: no well is left after the exclusions ({dropped}); exclude fewer")
    return profiles


def _expand(paths: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            found = [file for file in sorted(path.iterdir()) if file.name.endswith(SUFFIXES)]
        elif path.exists():
            found = [path]
        else:
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not found:
            raise InputError(
                f"{given}: no file of profiles is there; give a {', '.join(SUFFIXES)} file or a folder of them"
            )
        files += [file for file in found if file not in files]
    if not files:
        raise InputError("no file of profiles was named; give one with --profiles")
    return files


def _join(tables: list[Table]) -> tuple[Table, tuple[str, ...]]:
    if len(tables) == 1:
        return tables[0], ()
    shared = set(tables[0].feature_names).intersection(*(table.feature_names for table in tables[1:]))
    names = tuple(name for name in tables[0].feature_names if name in shared)
    if not names:
        raise InputError("the files have no feature in common; give files of one feature set")
    every = set().union(*(table.feature_names for table in tables))
    features = np.concatenate([table.features[:, _positions(table.feature_names, names)] for table in tables])
    metadata = pd.concat([table.metadata for table in tables], ignore_index=True)
    lost = len(every) - len(names)
    notes = (f"{lost} of {len(every)} features are not in all files and were left out",) if lost else ()
    return Table(metadata, features, names), notes


def _positions(have: tuple[str, ...], want: tuple[str, ...]) -> list[int]:
    index = {name: i for i, name in enumerate(have)}
    return [index[name] for name in want]


def _derive(metadata: pd.DataFrame, derive: Mapping[str, tuple[str, str]], where: str) -> pd.DataFrame:
    for name, (column, pattern) in derive.items():
        if name not in metadata:
            source = _column(metadata, metadata, column, where)
            metadata = metadata.assign(**{name: source.astype("str").str.extract(pattern, expand=False)})
    return metadata


def _canonical(name: str, prefixes: tuple[str, ...]) -> str:
    """The ``Metadata_`` name of a file's metadata column."""
    for prefix in prefixes:
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    return name if name.startswith(METADATA_PREFIX) else METADATA_PREFIX + name


def _clean(column: pd.Series) -> pd.Series:
    """Labels without surrounding blanks (non-breaking ones too); empty ones missing."""
    codes, unique = pd.factorize(column)
    labels = [str(label).replace("\u00a0", " ").strip() for label in unique]
    cleaned = pd.array([_EMPTY.get(label, label) for label in labels] + [None], dtype=object)
    return pd.Series(cleaned.take(codes), index=column.index, dtype=object)


def _assign_roles(raw: pd.DataFrame, reading: Reading, where: str) -> pd.DataFrame:
    metadata = raw.rename(columns={str(name): _canonical(str(name), reading.prefixes) for name in raw.columns})
    metadata = metadata.loc[:, ~metadata.columns.duplicated()].copy()
    for role, name in reading.columns.items():
        metadata[ROLES[role]] = _column(raw, metadata, name, where)
    for name in ROLES.values():
        if name in metadata:
            metadata[name] = _clean(metadata[name])
    return metadata


def _column(raw: pd.DataFrame, metadata: pd.DataFrame, name: str, where: str) -> pd.Series:
    for frame in (raw, metadata):
        if name in frame:
            column: pd.Series = frame[name]
            return column
    raise InputError(
        f"{where}: there is no column '{name}'; metadata columns: {', '.join(map(str, raw.columns)) or 'none'}"
    )


def _matching(raw: pd.DataFrame, metadata: pd.DataFrame, condition: str, where: str) -> tuple[np.ndarray, str]:
    """The rows that a ``Column=Value`` condition names, and its value."""
    name, equals, value = condition.partition("=")
    if not equals:
        raise InputError(f"'{condition}' is no condition; write Column=Value")
    column = _column(raw, metadata, name, where)
    labels = _clean(column)
    mask = (labels == value.strip()).to_numpy()
    if not mask.any() and pd.api.types.is_numeric_dtype(column):
        with suppress(ValueError):
            mask = (column == float(value)).to_numpy()
    if not mask.any():
        seen = ", ".join(f"{label} ({count})" for label, count in labels.value_counts().head(6).items())
        raise InputError(f"{where}: no well has {name} = '{value}'; its values are {seen or 'all empty'}")
    return mask, value.strip()


def _assign_types(
    metadata: pd.DataFrame, raw: pd.DataFrame, reading: Reading, where: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    column = ROLES["pert_type"]
    codes, given = pd.factorize(metadata[column]) if column in metadata else (np.full(len(metadata), -1), ())
    known = [text.lower() if text.lower() in PERT_TYPES else "trt" for text in given]
    types = np.array([*known, "trt"], dtype=object)[codes]
    named = np.zeros(len(metadata), dtype=bool)
    for condition, kind in [(text, "negcon") for text in reading.negcon] + [_label(text) for text in reading.label]:
        mask, value = _matching(raw, metadata, condition, where)
        types[mask] = kind
        named |= mask
        if ROLES["perturbation"] in metadata:
            empty = mask & metadata[ROLES["perturbation"]].isna().to_numpy()
            metadata.loc[empty, ROLES["perturbation"]] = value
    metadata[column] = types
    warnings = []
    for code, text in enumerate(given):
        count = int(((codes == code) & ~named).sum())
        if count and not text.lower().startswith((*PERT_TYPES,)):
            warnings.append(f"{count} wells of {column} '{text}' are taken as treated")
    return metadata, tuple(warnings)


def _label(text: str) -> tuple[str, str]:
    condition, colon, kind = text.rpartition(":")
    if not colon or kind not in PERT_TYPES:
        raise InputError(f"'{text}' is no label; write Column=Value:type with type one of {', '.join(PERT_TYPES)}")
    return condition, kind


def _exclude(
    metadata: pd.DataFrame, raw: pd.DataFrame, conditions: tuple[str, ...], where: str
) -> tuple[np.ndarray, dict[str, int]]:
    keep, dropped = np.ones(len(metadata), dtype=bool), {}
    for condition in conditions:
        mask, _ = _matching(raw, metadata, condition, where)
        dropped[f"excluded {condition}"] = int((mask & keep).sum())
        keep &= ~mask
    return keep, dropped


def _check_wells(metadata: pd.DataFrame, where: str) -> pd.DataFrame:
    for role in ("plate", "well"):
        if ROLES[role] not in metadata:
            raise InputError(
                f"{where}: no column for the {role} (default {ROLES[role]}); name one with --column {role}=NAME; "
                f"metadata columns: {', '.join(map(str, metadata.columns))}"
            )
    plate = metadata[ROLES["plate"]]
    if plate.isna().any():
        row = int(plate.isna().to_numpy().argmax()) + 1
        raise InputError(
            f"{where}: row {row} has no plate; fill in {ROLES['plate']} or leave the row out with --exclude"
        )
    metadata[ROLES["well"]] = normalize_wells(metadata[ROLES["well"]], f"{where}: {ROLES['well']}")
    keys = [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in metadata]
    repeated = metadata.duplicated(keys)
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        well = metadata[ROLES["well"]].iloc[row]
        raise InputError(
            f"{where}: well {well} of plate {plate.iloc[row]} occurs twice (again in row {row + 1}; "
            f"{int(repeated.sum())} such rows); "
            "give one row a well, or a plate column that tells them apart"
        )
    return metadata


def _missing(
    features: np.ndarray, names: tuple[str, ...], policy: NanPolicy, where: str
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, int]:
    """Apply the ``nan`` policy: features, their names, the wells kept, the number of features left out."""
    every = np.ones(len(features), dtype=bool)
    if policy == "error" or np.isfinite(features.sum(dtype=np.float64)):
        return features, names, every, 0
    bad = ~np.isfinite(features)
    if policy == "drop-wells":
        keep = ~bad.any(axis=1)
        if not keep.any():
            raise InputError(f"{where}: every well has a NaN or infinite feature; use --nan drop-features")
        return features[keep], names, keep, 0
    good = ~bad.any(axis=0)
    if not good.any():
        raise InputError(f"{where}: every feature is NaN or infinite in some well; use --nan drop-wells")
    kept = tuple(name for name, fine in zip(names, good, strict=True) if fine)
    return features[:, good], kept, every, int((~good).sum())


def _steps(files: list[Path]) -> tuple[Mapping[str, object], ...]:
    """The normalization record inside a file that phenobench wrote; a second file's would be another's."""
    import json

    import pyarrow.parquet as pq

    if len(files) != 1 or files[0].suffix != ".parquet":
        return ()
    record = (pq.read_schema(files[0]).metadata or {}).get(PROVENANCE_KEY)
    return tuple(json.loads(record)["steps"]) if record else ()
