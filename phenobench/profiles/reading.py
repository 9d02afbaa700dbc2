"""From files to ``Profiles``: several files into one table, roles, controls, exclusions, missing values."""

from __future__ import annotations

import glob
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.errors import InputError, unknown
from phenobench.profiles.formats import SUFFIXES, Record, Table, is_profiles, read_table
from phenobench.profiles.left_out import joined, left_out
from phenobench.profiles.profiles import Profiles, all_finite
from phenobench.profiles.roles import METADATA_PREFIX, PERT_TYPES, ROLES
from phenobench.profiles.well_names import normalize_wells

NanPolicy = Literal["error", "drop-features", "drop-wells"]
NAN_POLICIES: tuple[NanPolicy, ...] = ("error", "drop-features", "drop-wells")
# What files write where they mean "nothing"; blanks of all kinds are stripped first.
_EMPTY = frozenset(["", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>"])
# Why wells are left out.
_NOT_FINITE = "NaN or infinite features"


@dataclass(frozen=True)
class Reading:
    """How to read a file of profiles.

    Attributes:
        columns: role -> column name; ``A,B`` joins two, such as a compound and its dose.
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
    files = _expand(paths)
    named = frozenset(part for name in reading.columns.values() for part in (name, *name.split(",")))
    tables = [read_table(file, reading.prefixes, named) for file in files]
    origin = _Origin(files, np.cumsum([len(table.metadata) for table in tables]))
    where = str(origin)
    table, notes = _join(tables, where)
    raw = _derive(table.metadata, reading.derive, where)
    metadata = _assign_roles(raw, reading, where)
    metadata, taken = _assign_types(metadata, raw, reading, where)
    why = _exclude(raw, metadata, reading.exclude, where)
    keep = why == ""
    dropped = {reason: int((why == reason).sum()) for reason in map(_excluded, reading.exclude)}
    lost_wells = [left_out(metadata[~keep], why[~keep])]
    for reason, count in table.record.dropped.items():
        dropped[reason] = dropped.get(reason, 0) + count
    features = table.features
    # The index stays that of the files' rows, for messages that name one.
    if not keep.all():
        metadata, features = metadata[keep], features[keep]
    if not len(metadata):
        raise InputError(f"{where}: no well is left after the exclusions; exclude fewer")
    if reading.wells:
        metadata = _check_wells(metadata, origin)
    features, names, keep, lost = _missing(features, table.feature_names, reading.nan, metadata, origin)
    if lost:
        notes = (*notes, f"{lost} features with NaN or infinite values were left out")
    if not keep.all():
        dropped[_NOT_FINITE] = int((~keep).sum())
        lost_wells.append(left_out(metadata[~keep], _NOT_FINITE))
        metadata = metadata[keep]
    record = table.record
    notes = (*record.notes, *notes, *taken)
    return Profiles(metadata, features, names, record.steps, dropped, notes, record.key, joined(lost_wells))


def read_wells(table: pd.DataFrame, path: Path, reading: Reading) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The wells of a table with several rows a well: one row a well, the well of each row, and why it has none.

    The well of a row is its place among the wells, -1 where it was excluded, with the reason; "" for the others.

    Raises:
        InputError: as ``read_profiles``, or the rows of a well differ.
    """
    origin = _Origin([path], np.array([len(table)]))
    metadata = _assign_roles(table, reading, str(path))
    metadata, _ = _assign_types(metadata, table, reading, str(path))
    why = _exclude(table, metadata, reading.exclude, str(path))
    keep = why == ""
    metadata = metadata[keep]
    metadata = metadata.assign(
        **{ROLES["well"]: normalize_wells(metadata[ROLES["well"]], lambda row: origin.row(int(metadata.index[row])))}
    )
    keys = [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in metadata]
    code = metadata.groupby(keys, sort=True, dropna=False).ngroup().to_numpy()
    first = metadata.iloc[np.unique(code, return_index=True)[1]]
    for name in metadata.columns:
        differing = metadata[name].fillna("").to_numpy() != first[name].fillna("").to_numpy()[code]
        if differing.any():
            raise InputError(
                f"{origin.row(int(metadata.index[int(differing.argmax())]))} differs from an earlier row of its well "
                f"in {name}; give all rows of a well the same"
            )
    rows = np.full(len(table), -1)
    rows[keep] = code
    return _check_wells(first, origin).reset_index(drop=True), rows, why


@dataclass(frozen=True)
class _Origin:
    """Where the rows of a joined table come from, for messages: the files, and the rows up to the end of each."""

    files: list[Path]
    ends: np.ndarray

    def __str__(self) -> str:
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0]}{more}"

    def row(self, row: int) -> str:
        """A row (from 0) of the joined table as a reader of its file counts it (from 1, without the header)."""
        file = int(np.searchsorted(self.ends, row, side="right"))
        start = int(self.ends[file - 1]) if file else 0
        return f"{self.files[file]}: row {row - start + 1}"


def _expand(paths: Sequence[str]) -> list[Path]:
    files: dict[Path, Path] = {}
    for given in paths:
        try:
            found = _find(given)
        except (OSError, ValueError) as error:
            raise InputError(f"{given[:200]}: no file of profiles can be there ({error})") from error
        if not found:
            raise InputError(
                f"{given}: no file of profiles is there; give a {', '.join(SUFFIXES)} file or a folder of them"
            )
        # A file that is named twice is read once.
        for file in found:
            files.setdefault(file.resolve(), file)
    if not files:
        raise InputError("no file of profiles was named; give one with --profiles")
    return list(files.values())


def _find(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if given.strip() and path.is_dir():
        return [file for file in sorted(path.iterdir()) if is_profiles(file)]
    if path.is_file():
        return [path]
    return [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if is_profiles(Path(name))]


def _join(tables: list[Table], where: str) -> tuple[Table, tuple[str, ...]]:
    if len(tables) == 1:
        return tables[0], ()
    shared = set(tables[0].feature_names).intersection(*(table.feature_names for table in tables[1:]))
    names = tuple(name for name in tables[0].feature_names if name in shared)
    if not names:
        raise InputError(f"{where}: the files have no feature in common; give files of one feature set")
    every = set().union(*(table.feature_names for table in tables))
    features = np.concatenate([table.features[:, _positions(table.feature_names, names)] for table in tables])
    with warnings.catch_warnings():
        # pandas will one day count an empty column in when it chooses the type of the joined one.
        warnings.simplefilter("ignore", FutureWarning)
        metadata = pd.concat([table.metadata for table in tables], ignore_index=True)
    for name in metadata:
        # Numbers in one file and text in another: labels are the same in both.
        if pd.api.types.infer_dtype(metadata[name], skipna=True).startswith("mixed"):
            metadata[name] = _clean(metadata[name])
    lost = len(every) - len(names)
    notes = (f"{lost} of {len(every)} features are not in all files and were left out",) if lost else ()
    return Table(metadata, features, names, _join_records([table.record for table in tables])), notes


def _join_records(records: list[Record]) -> Record:
    """One record for several files; steps are known where all files went through the same ones."""
    steps = records[0].steps if all(record.steps == records[0].steps for record in records) else ()
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record.dropped)
    notes = tuple(dict.fromkeys(note for record in records for note in record.notes))
    return Record(steps=steps, dropped=dropped, notes=notes)


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


def _label(value: object) -> str | None:
    """A label without surrounding blanks (non-breaking ones too), a whole number without ``.0``; None where empty."""
    whole = isinstance(value, float) and value.is_integer()
    text = str(int(value) if isinstance(value, float) and whole else value).replace("\u00a0", " ").strip()
    return None if text in _EMPTY else text


def _clean(column: pd.Series) -> pd.Series:
    codes, unique = pd.factorize(column)
    # Code -1, a missing value, is the last.
    labels = np.array([*map(_label, unique), None], dtype=object)
    return pd.Series(labels[codes], index=column.index)


def _assign_roles(raw: pd.DataFrame, reading: Reading, where: str) -> pd.DataFrame:
    metadata = raw.rename(columns={str(name): _canonical(str(name), reading.prefixes) for name in raw.columns})
    metadata = metadata.loc[:, ~metadata.columns.duplicated()].copy()
    for role, name in reading.columns.items():
        if role not in ROLES:
            raise unknown("role", role, ROLES)
        metadata[ROLES[role]] = _role_column(raw, metadata, name, where)
    for name in ROLES.values():
        if name in metadata:
            metadata[name] = _clean(metadata[name])
    return metadata


def _role_column(raw: pd.DataFrame, metadata: pd.DataFrame, name: str, where: str) -> pd.Series:
    """The column of a name or, for ``A,B``, the values of both joined; missing where all are."""
    parts = name.split(",")
    if name in raw or len(parts) == 1:
        return _column(raw, metadata, name, where)
    columns = [_clean(_column(raw, metadata, part, where)) for part in parts]
    joined = [",".join(value for value in row if value is not None) for row in zip(*columns, strict=True)]
    return pd.Series(joined, index=raw.index, dtype=object)


def _column(raw: pd.DataFrame, metadata: pd.DataFrame, name: str, where: str) -> pd.Series:
    for frame in (raw, metadata):
        if name in frame:
            column: pd.Series = frame[name]
            return column
    raise InputError(
        f"{where}: there is no column '{name}'; metadata columns: {', '.join(map(str, raw.columns)) or 'none'}"
    )


def _matching(raw: pd.DataFrame, metadata: pd.DataFrame, condition: str, where: str) -> tuple[np.ndarray, str | None]:
    """The rows that a ``Column=Value`` condition names, and its value; no value names the empty ones."""
    name, equals, text = condition.partition("=")
    if not equals:
        raise InputError(f"'{condition}' is no condition; write Column=Value")
    column = _column(raw, metadata, name, where)
    labels, value = _clean(column), _label(text)
    mask = (labels.isna() if value is None else labels == value).to_numpy()
    if not mask.any() and pd.api.types.is_numeric_dtype(column):
        with suppress(ValueError):
            mask = (column == float(text)).to_numpy()
    if not mask.any():
        seen = ", ".join(f"{label} ({count})" for label, count in labels.value_counts().head(6).items())
        raise InputError(f"{where}: no well has {name} = '{text}'; its values are {seen or 'all empty'}")
    return mask, value


def _assign_types(
    metadata: pd.DataFrame, raw: pd.DataFrame, reading: Reading, where: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    column = ROLES["pert_type"]
    codes, given = pd.factorize(metadata[column]) if column in metadata else (np.full(len(metadata), -1), ())
    known = [text.lower() if text.lower() in PERT_TYPES else "trt" for text in given]
    types = np.array([*known, "trt"], dtype=object)[codes]
    named = np.zeros(len(metadata), dtype=bool)
    for condition, kind in [(text, "negcon") for text in reading.negcon] + [
        _type_label(text) for text in reading.label
    ]:
        mask, value = _matching(raw, metadata, condition, where)
        types[mask] = kind
        named |= mask
        if value is not None and ROLES["perturbation"] in metadata:
            empty = mask & metadata[ROLES["perturbation"]].isna().to_numpy()
            metadata.loc[empty, ROLES["perturbation"]] = value
    metadata[column] = types
    taken = []
    for code, text in enumerate(given):
        count = int(((codes == code) & ~named).sum())
        if count and text.lower() not in PERT_TYPES and not text.lower().startswith("trt"):
            taken.append(f"{count} wells of {column} '{text}' are taken as treated")
    return metadata, tuple(taken)


def _type_label(text: str) -> tuple[str, str]:
    condition, colon, kind = text.rpartition(":")
    if not colon or kind not in PERT_TYPES:
        raise InputError(f"'{text}' is no label; write Column=Value:type with type one of {', '.join(PERT_TYPES)}")
    return condition, kind


def _exclude(raw: pd.DataFrame, metadata: pd.DataFrame, conditions: tuple[str, ...], where: str) -> np.ndarray:
    """Why each row is left out, str (n,): the first condition that names it, "" where none does."""
    why = np.full(len(metadata), "", dtype=object)
    for condition in conditions:
        mask, _ = _matching(raw, metadata, condition, where)
        why[mask & (why == "")] = _excluded(condition)
    return why


def _excluded(condition: str) -> str:
    return f"excluded {condition}"


def _check_wells(metadata: pd.DataFrame, origin: _Origin) -> pd.DataFrame:
    for role in ("plate", "well"):
        if ROLES[role] not in metadata:
            raise InputError(
                f"{origin}: no column for the {role} (default {ROLES[role]}); name one with --column {role}=NAME; "
                f"metadata columns: {', '.join(map(str, metadata.columns))}"
            )

    def place(row: int) -> str:
        return origin.row(int(metadata.index[row]))

    plate = metadata[ROLES["plate"]]
    absent = plate.isna().to_numpy()
    if absent.any():
        raise InputError(
            f"{place(int(absent.argmax()))} has no plate; fill in {plate.name}, or leave it out with "
            f"--exclude {plate.name}="
        )
    metadata = metadata.assign(**{ROLES["well"]: normalize_wells(metadata[ROLES["well"]], place)})
    keys = [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in metadata]
    repeated = metadata.duplicated(keys).to_numpy()
    if repeated.any():
        row = int(repeated.argmax())
        same = (metadata[keys] == metadata[keys].iloc[row]).all(axis=1)
        raise InputError(
            f"{place(row)}: well {metadata[ROLES['well']].iloc[row]} of plate {plate.iloc[row]} is there already "
            f"({place(int(same.to_numpy().argmax()))}); give one row a well, or a plate column that tells them apart "
            f"({int(repeated.sum())} rows are repeated)"
        )
    return metadata


def _missing(
    features: np.ndarray, names: tuple[str, ...], policy: NanPolicy, metadata: pd.DataFrame, origin: _Origin
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, int]:
    """Apply the ``nan`` policy: features, their names, the wells kept, the number of features left out."""
    every = np.ones(len(features), dtype=bool)
    if all_finite(features):
        return features, names, every, 0
    bad = ~np.isfinite(features)
    if policy == "error":
        row, column = np.unravel_index(int(bad.argmax()), bad.shape)
        kind = "NaN" if np.isnan(features[row, column]) else "infinite as float32"
        raise InputError(
            f"{origin.row(int(metadata.index[int(row)]))}, feature '{names[column]}' is {kind} "
            f"({int(bad.sum())} such values, in {int(bad.any(axis=1).sum())} wells and "
            f"{int(bad.any(axis=0).sum())} features); "
            "use --nan drop-features or --nan drop-wells, or mend the file"
        )
    if policy == "drop-wells":
        keep = ~bad.any(axis=1)
        if not keep.any():
            raise InputError(f"{origin}: every well has a NaN or infinite feature; use --nan drop-features")
        return features[keep], names, keep, 0
    good = ~bad.any(axis=0)
    if not good.any():
        raise InputError(f"{origin}: every feature is NaN or infinite in some well; use --nan drop-wells")
    kept = tuple(name for name, fine in zip(names, good, strict=True) if fine)
    return features[:, good], kept, every, int((~good).sum())
