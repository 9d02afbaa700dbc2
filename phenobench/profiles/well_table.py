"""Wells with their roles: types, exclusions, names in one form, one row each, and what must be one thing checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import Faults, InputError
from phenobench.profiles import alike
from phenobench.profiles.conditions import Named, matching, rows_of_file
from phenobench.profiles.constant import one_of_each
from phenobench.profiles.control_types import assign_types, one_type_a_control, other_types
from phenobench.profiles.formats.h5ad import arrow_table
from phenobench.profiles.joining import Columns, Origin
from phenobench.profiles.labels import with_column
from phenobench.profiles.left_out import left_out
from phenobench.profiles.role_columns import (
    RoleColumns,
    RoleRules,
    find_roles,
    named_columns,
    wells_table,
    without_codes,
)
from phenobench.profiles.roles import PERT_TYPES, ROLES
from phenobench.profiles.settings import Reading
from phenobench.profiles.several_targets import distinct_labels, other_separators
from phenobench.profiles.well_names import has_site, normalize_wells

# Roles whose labels tell wells apart; of these, labels alike are told.
_IDENTITIES = ("plate", "batch", "source", "perturbation", "gene", "target")


@dataclass(frozen=True, eq=False)
class WellTable:
    """Wells with their roles.

    Attributes:
        wells: rows that are not excluded; their index is the row of the joined files.
        typed: by what each has its type (see ``control_types``).
        why: why each row of the files is left out, str (n,), "" where it is not.
        counts: how many are left out for each reason.
        left_out: which.
        roles: which columns play the roles.
        notes: what a reader of scores should know.
        faults: what is wrong with the wells.
        place: where the i-th of the wells is.
    """

    wells: pd.DataFrame
    typed: np.ndarray
    why: np.ndarray
    counts: Mapping[str, int]
    left_out: pd.DataFrame
    roles: RoleColumns
    notes: tuple[str, ...]
    faults: tuple[str, ...]
    place: Callable[[int], str]


def read_wells(
    table: pd.DataFrame, path: Path, reading: Reading
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The wells of a table with several rows a well: one row a well, the well of each row, why it has none, and notes.

    The well of a row is its place among the wells, -1 where it was excluded, with the reason; "" for the others.

    Raises:
        InputError: as ``read_profiles``, or the rows of a well differ.
    """
    origin = Origin([path], np.array([len(table)]))
    columns = Columns([arrow_table({str(name): table[name] for name in table.columns})], origin)
    assigned = assigned_wells(columns, reading, origin, several_rows=True)
    if assigned.faults:
        raise InputError(*assigned.faults)
    wells = assigned.wells
    keys = [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in wells]
    code = wells.groupby(keys, sort=True, dropna=False).ngroup().to_numpy()
    firsts = np.unique(code, return_index=True)[1]
    first = wells.iloc[firsts]
    for name in wells.columns:
        codes = pd.factorize(wells[name])[0]
        differing = codes != codes[firsts][code]
        if differing.any():
            raise InputError(
                f"{assigned.place(int(differing.argmax()))} differs from an earlier row of its well in {name}; give "
                "all rows of a well the same"
            )
    rows = np.full(len(table), -1)
    rows[assigned.why == ""] = code
    kinds = with_column(first, ROLES["pert_type"], pd.Categorical(first[ROLES["pert_type"]], categories=PERT_TYPES))
    first, notes = _made_consistent(
        kinds, assigned.typed[firsts], assigned.roles, reading, lambda row: assigned.place(int(firsts[row]))
    )
    return without_codes(first).reset_index(drop=True), rows, assigned.why, (*assigned.notes, *notes)


def assigned_wells(
    columns: Columns,
    reading: Reading,
    origin: Origin,
    recorded: Mapping[str, str] | None = None,
    *,
    bare: bool = False,
    several_rows: bool = False,
) -> WellTable:
    """The wells of joined columns: roles assigned, exclusions away, and what is wrong with the rest.

    Args:
        columns: of the joined files.
        reading: how they are meant.
        origin: where rows are.
        recorded: role -> column, as phenobench recorded it.
        bare: a role's own column is found without a prefix, too.
        several_rows: a well may have several rows.

    Raises:
        InputError: a role, a column or a condition that is not there.
    """
    rules = RoleRules(
        reading.columns, reading.all_prefixes, bare, recorded or {}, reading.separators, reading.spellings
    )
    faults = Faults()
    roles = RoleColumns({}, {}, ())
    with faults.caught():
        roles = find_roles(columns, rules, origin)
    named = named_columns(columns, roles, rules)
    wells = wells_table(columns, roles)
    typed = np.zeros(len(wells), dtype=int)
    notes = list(roles.notes)
    why = np.full(len(wells), "", dtype=object)
    counts: dict[str, int] = {}
    with faults.caught():
        wells, typed = assign_types(wells, named, reading.negcon, reading.label, origin)
    with faults.caught():
        why, counts, said = _excluded(named, reading, len(wells), origin)
        notes += said
    faults.raise_any()
    keep = why == ""
    if keep.all():
        lost = left_out(wells.iloc[:0], why[:0])
    else:
        lost = left_out(without_codes(wells[~keep]), why[~keep])
        wells, typed = wells[keep], typed[keep]
    index = wells.index.to_numpy()

    def place(row: int) -> str:
        return origin.row(int(index[row]))

    notes += other_types(wells, typed)
    if len(wells):
        with faults.caught():
            wells, said = _well_names(wells, place, reading, roles)
            notes += said
        if not several_rows:
            with faults.caught():
                if reading.wells:
                    _require_one_row_a_well(wells, place)
                # Of no use where plates are not told apart.
                wells, said = _made_consistent(wells, typed, roles, reading, place)
                notes += said
    return WellTable(without_codes(wells), typed, why, counts, lost, roles, tuple(notes), faults.sentences, place)


def _made_consistent(
    wells: pd.DataFrame, typed: np.ndarray, roles: RoleColumns, reading: Reading, place: Callable[[int], str]
) -> tuple[pd.DataFrame, list[str]]:
    """One row a well, with what is missing in part filled, and notes on labels; ``typed`` as in ``WellTable``.

    Raises:
        InputError: what has to be one thing is two.
    """
    wells, of_types = one_type_a_control(wells, typed, roles.name("perturbation"))
    wells, of_groups = one_of_each(wells, place, roles.name)
    labels = {roles.name(role): distinct_labels(wells, role) for role in _IDENTITIES if ROLES[role] in wells}
    several = other_separators(wells, roles.name("target"), reading.separators)
    return wells, [*of_types, *of_groups, *alike.notes_on(labels), *several]


def _excluded(
    named: Mapping[str, Named], reading: Reading, n: int, where: object
) -> tuple[np.ndarray, dict[str, int], list[str]]:
    """Why each row is left out, str (n,): the first condition that names it, "" where none does."""
    why = np.full(n, "", dtype=object)
    faults, notes = Faults(), []
    for condition in reading.exclude:
        with faults.caught():
            mask, _ = matching(condition, named, named.__getitem__, where)
            why[mask & (why == "")] = f"excluded {condition}"
    for path in reading.exclude_files:
        with faults.caught():
            mask, told = rows_of_file(path, named, named.__getitem__, where)
            why[mask & (why == "")] = f"excluded by {path.name}"
            notes += told
    faults.raise_any()
    reasons = [f"excluded {condition}" for condition in reading.exclude] + [
        f"excluded by {path.name}" for path in reading.exclude_files
    ]
    return why, {reason: int((why == reason).sum()) for reason in reasons}, notes


def _well_names(
    wells: pd.DataFrame, place: Callable[[int], str], reading: Reading, roles: RoleColumns
) -> tuple[pd.DataFrame, list[str]]:
    """Wells in ``A01`` form, where they have names; a plate for each where there is a column of plates."""
    faults, notes = Faults(), []
    plate, well, called = ROLES["plate"], ROLES["well"], roles.name("plate")
    if plate in wells and reading.wells:
        absent = wells[plate].isna().to_numpy()
        if absent.any():
            faults.add(
                f"{place(int(absent.argmax()))} has no plate; fill in {called}, or leave it out with "
                f"--exclude {called}="
            )
    if well in wells and reading.wells:
        with faults.caught():
            sites = sum(map(has_site, wells[well].dropna().unique()))
            wells = with_column(wells, well, normalize_wells(wells[well].rename(roles.name("well")), place))
            if sites:
                notes.append(f"{sites} names of wells have a site behind them (such as A01_s1), which was cut off")
    faults.raise_any()
    return wells, notes


def _require_one_row_a_well(wells: pd.DataFrame, place: Callable[[int], str]) -> None:
    if ROLES["well"] not in wells:
        return
    keys = [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in wells]
    # A row without a plate or a well is another fault, and told already.
    placed = wells[[name for name in keys if name != ROLES["source"]]].notna().all(axis=1)
    repeated = (wells.duplicated(keys) & placed).to_numpy()
    if not repeated.any():
        return
    row = int(repeated.argmax())
    first = _first_like(wells[keys], row)
    count = f"({int(repeated.sum())} rows are repeated; rows of sites or cells have to be averaged first)"
    well = f"{place(row)}: well {wells[ROLES['well']].iloc[row]}"
    if ROLES["plate"] not in wells:
        raise InputError(
            f"{well} is there already ({place(first)}) and there is no column for the plate (default "
            f"{ROLES['plate']}); name one with --column plate=NAME, or take each file for one with --plate-from-file "
            f"{count}"
        )
    raise InputError(
        f"{well} of plate {wells[ROLES['plate']].iloc[row]} is there already ({place(first)}); give one row a well, or "
        f"a plate column that tells them apart {count}"
    )


def _first_like(keys: pd.DataFrame, row: int) -> int:
    codes = keys.groupby(list(keys.columns), dropna=False, sort=False, observed=True).ngroup().to_numpy()
    return int((codes == codes[row]).argmax())
