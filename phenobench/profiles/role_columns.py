"""Which column plays which role, and the table of wells that follows: roles under our names, all else under its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from phenobench.errors import Faults, InputError, unknown
from phenobench.profiles.conditions import Named
from phenobench.profiles.feature_columns import listed
from phenobench.profiles.joining import Columns
from phenobench.profiles.labels import SEVERAL, cleaned, joined, plain, unwrapped
from phenobench.profiles.roles import METADATA_PREFIX, OWN, ROLE_PREFIX, ROLES
from phenobench.profiles.well_names import of_row_and_column

# Without one of these a well has its plate's, or none: an empty column says no more than an absent one.
_OPTIONAL = ("batch", "source")


@dataclass(frozen=True)
class RoleRules:
    """How roles are found.

    Attributes:
        columns: role -> column name; ``A,B`` joins several.
        prefixes: what the names of metadata columns start with; a role's own column is found behind each.
        bare: a role's own column is found without a prefix, too.
        recorded: role -> column, as phenobench recorded it.
        separators: role -> what stands between several labels in a cell, where it is not ``|``.
        spellings: perturbations as they are spelled elsewhere.
    """

    columns: Mapping[str, str]
    prefixes: tuple[str, ...]
    bare: bool = False
    recorded: Mapping[str, str] = field(default_factory=dict)
    separators: Mapping[str, str] = field(default_factory=dict)
    spellings: Iterable[str] = ()


@dataclass(frozen=True, eq=False)
class RoleColumns:
    """The columns that play roles.

    Attributes:
        of: role -> the columns of the file that play it, more than one where they are joined.
        labels: role -> labels (n,), as codes.
        notes: what a reader of scores should know of them.
    """

    of: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, pd.Categorical]
    notes: tuple[str, ...]

    def name(self, role: str) -> str:
        """How a message or an option calls the column of a role."""
        return ",".join(self.of.get(role, (ROLES[role],)))


def find_roles(columns: Columns, rules: RoleRules, where: object) -> RoleColumns:
    """The columns of all roles that are named or found.

    Raises:
        InputError: an unknown role, a column that is not there, or two columns for one role; all of them at once.
    """
    faults = Faults()
    found: dict[str, tuple[str, ...]] = {}
    for role, given in rules.columns.items():
        with faults.caught():
            if role not in ROLES:
                raise unknown("role", role, ROLES)
            found[role] = _named(columns, given, rules)
    for role in ROLES:
        if role not in rules.columns:
            with faults.caught():
                found |= _default(columns, role, rules, where)
    faults.raise_any()
    labels: dict[str, pd.Categorical] = {}
    notes: list[str] = []
    for role, names in found.items():
        spellings = rules.spellings if role == "perturbation" else ()
        parts = [columns.coded(name, spellings) for name in names]
        labels[role] = parts[0] if len(parts) == 1 else pd.Categorical(_joined(role, list(map(plain, parts))))
        if role in rules.separators:
            labels[role] = pd.Categorical(_separated(plain(labels[role]), rules.separators[role]))
        notes += [
            f"the file keeps '{name}' as numbers with fewer digits than some of its values need, so different labels "
            "may have become one before they came here; store it as text"
            for name in names
            if columns.loses_digits(name)
        ]
    return RoleColumns(found, labels, tuple(notes))


def wells_table(columns: Columns, roles: RoleColumns) -> pd.DataFrame:
    """One row a well: labels of the roles under our names, and all other columns under their own.

    A column of the file that has the name of a role which another column plays stands aside under its name and
    ``OWN``. Roles are codes, since text is slow to compare; ``without_codes`` ends that.
    """
    played = {ROLES[role]: names for role, names in roles.of.items()}
    # What phenobench wrote for a role has the role's name again.
    own = {
        name + OWN if name in ROLES.values() else name: columns.values(name)
        for name in columns.names
        if played.get(name) != (name,) and not (name.startswith(ROLE_PREFIX) and (name,) in played.values())
    }
    return pd.DataFrame(
        {**own, **{ROLES[role]: labels for role, labels in roles.labels.items()}}, index=range(columns.n)
    )


def without_codes(wells: pd.DataFrame) -> pd.DataFrame:
    """The same table with text in all roles, and None where a role has none."""
    found = wells.copy(deep=False)
    for name in set(ROLES.values()).intersection(found.columns):
        column = found[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            found[name] = plain(column.array)
        elif column.isna().any():
            found[name] = [None if pd.isna(label) else label for label in column]
    return found


def named_columns(columns: Columns, roles: RoleColumns, rules: RoleRules) -> Mapping[str, Named]:
    """What conditions may name: columns of the file, and the roles' own names where no column has them."""
    return _NamedColumns(columns, roles, rules)


class _NamedColumns(Mapping[str, Named]):
    """Labels of columns, made when they are asked for."""

    def __init__(self, columns: Columns, roles: RoleColumns, rules: RoleRules) -> None:
        self._columns, self._roles, self._rules = columns, roles, rules

    def __getitem__(self, name: str) -> Named:
        actual = _resolved(self._columns, name, self._rules)
        if actual is None:
            role = next((role for role, own in ROLES.items() if own == name and role in self._roles.labels), None)
            if role is None:
                raise self._columns.absent(name)
            return Named(plain(self._roles.labels[role]), is_well=role == "well")
        is_well = self._roles.of.get("well") == (actual,)
        return Named(self._columns.labels(actual), self._columns.is_number(actual), is_well)

    def __iter__(self) -> Iterator[str]:
        own = (name for name in ROLES.values() if name not in self._columns)
        return iter((*self._columns.names, *own))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _resolved(columns: Columns, name: str, rules: RoleRules) -> str | None:
    """The column that a name means: its own, one with blanks around its name, or a role's own name behind a prefix."""
    if name in columns:
        return name
    alike = [known for known in columns.names if known.strip() == name.strip()]
    if name.startswith(METADATA_PREFIX) and not alike:
        short = name.removeprefix(METADATA_PREFIX)
        starts = (*rules.prefixes, *([""] if rules.bare else []))
        alike = [start + short for start in starts if start + short in columns]
    return alike[0] if len(alike) == 1 else None


def _named(columns: Columns, given: str, rules: RoleRules) -> tuple[str, ...]:
    whole = _resolved(columns, given, rules)
    if whole is not None:
        return (whole,)
    names = []
    for part in given.split(","):
        name = _resolved(columns, part, rules)
        if name is None:
            raise columns.absent(part)
        names.append(name)
    return tuple(names)


def _default(columns: Columns, role: str, rules: RoleRules, where: object) -> dict[str, tuple[str, ...]]:
    """The column that has the name of a role, under any prefix; none where it is empty and the role is optional."""
    recorded = rules.recorded.get(role)
    if recorded is not None and (not recorded or recorded in columns):
        # An empty name: no column plays the role, not even one of its name.
        return {role: (recorded,)} if recorded else {}
    own = ROLES[role]
    short = own.removeprefix(METADATA_PREFIX)
    wanted = {start + name for start in rules.prefixes for name in (short, own)} | (
        {short, own} if rules.bare else set()
    )
    there = [name for name in columns.names if name.strip() in wanted]
    full = [name for name in there if (columns.coded(name).codes >= 0).any()]
    if len(full) > 1:
        raise InputError(
            f"{where}: the columns {listed(full)} both stand for the {role}; say which one does, "
            f"--column {role}={full[0]} or --column {role}={full[1]}"
        )
    if full:
        return {role: (full[0],)}
    return {role: (there[0],)} if there and role not in _OPTIONAL else {}


def _joined(role: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    if role == "well" and len(parts) == 2:
        codes, unique = pd.factorize(pd.MultiIndex.from_arrays([pd.Series(part, dtype=object) for part in parts]))
        wells = [of_row_and_column(*(None if pd.isna(one) else str(one) for one in pair)) for pair in unique]
        return np.array([*wells, None], dtype=object)[codes]
    return joined(parts)


def _separated(labels: np.ndarray, separator: str) -> np.ndarray:
    """Cells of several labels as ``A|B``; brackets and quotes of a printed list go."""
    codes, unique = pd.factorize(labels)
    several = [
        SEVERAL.join(filter(None, (cleaned(unwrapped(part)) for part in cell.split(separator)))) or None
        for cell in unique
    ]
    return np.array([*several, None], dtype=object)[codes]
