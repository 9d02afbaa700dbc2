"""What is one thing for a perturbation or a plate: filled where it is missing in part, refused where it contradicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from phenobench.errors import Faults, InputError
from phenobench.profiles.labels import SEVERAL, shortened, with_column
from phenobench.profiles.roles import ROLES

_WHAT = {"gene": "gene", "target": "target", "batch": "batch", "source": "source"}
# The row of a well in a file, for messages.
Place = Callable[[int], str]


def one_of_each(wells: pd.DataFrame, place: Place, name: Callable[[str], str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Wells whose perturbation has one gene and one target, and whose plate has one batch and one source.

    Args:
        wells: n rows with types.
        place: where the i-th of them is.
        name: how a role's column is called.

    Raises:
        InputError: two values where there can be one; all such columns at once.
    """
    faults, notes = Faults(), []
    under_test = ~wells[ROLES["pert_type"]].isin(["negcon", "empty"]).to_numpy()
    plates = [role for role in ("source", "plate") if ROLES[role] in wells]
    for role, keys, among in (
        ("source", ["plate"], np.ones(len(wells), bool)),
        ("batch", plates, np.ones(len(wells), bool)),
        ("gene", ["perturbation"], under_test),
        ("target", ["perturbation"], under_test),
    ):
        if ROLES[role] not in wells or not all(ROLES[key] in wells for key in keys) or not keys:
            continue
        if role == "source" and not wells[ROLES[role]].isna().any():
            # Plates of several sources may have one name.
            continue
        with faults.caught():
            column, note = _filled(wells, role, keys, among, place, name)
            wells = with_column(wells, ROLES[role], column)
            notes += note
    faults.raise_any()
    return wells, (*notes, *_of_their_own(wells))


def _filled(
    wells: pd.DataFrame, role: str, keys: list[str], among: np.ndarray, place: Place, name: Callable[[str], str]
) -> tuple[np.ndarray, list[str]]:
    """The column of a role with what is missing filled from its group, and a note of that."""
    values = wells[ROLES[role]].to_numpy(dtype=object, copy=True)
    groups = wells.groupby([ROLES[key] for key in keys], sort=False, dropna=False, observed=True).ngroup().to_numpy()
    groups = np.where(among & wells[ROLES[keys[-1]]].notna().to_numpy(), groups, -1)
    codes, unique = pd.factorize(pd.Series(values, dtype=object).map(_as_set, na_action="ignore"))
    there = (groups >= 0) & (codes >= 0)
    pairs = pd.DataFrame({"group": groups[there], "code": codes[there], "row": np.flatnonzero(there)})
    first = pairs.drop_duplicates(["group", "code"])
    several = first["group"].duplicated(keep=False)
    if several.any() and role != "source":
        one, other = first.loc[several & (first["group"] == first.loc[several, "group"].iloc[0]), "row"].iloc[:2]
        of = wells[ROLES[keys[-1]]].iloc[one]
        more = first.loc[several, "group"].nunique() - 1
        raise InputError(
            f"{place(int(other))}: {keys[-1]} {of} has the {_WHAT[role]} '{values[other]}' in {name(role)}, and "
            f"'{values[one]}' in {place(int(one))}; give it one, or tell the two apart, --column {keys[-1]}="
            f"{name(keys[-1])},OTHER" + (f" ({more} more are like it)" if more else "")
        )
    only = first[~several].set_index("group")["row"]
    missing = (groups >= 0) & (codes < 0) & np.isin(groups, only.index)
    # As a set, since which of its spellings comes first depends on the order of rows.
    values[missing] = np.asarray(unique, dtype=object)[codes[only.reindex(groups[missing]).to_numpy(dtype=int)]]
    if not missing.any():
        return values, []
    rest = sorted(set(wells.loc[missing, ROLES[keys[-1]]].astype(str)))
    note = (
        f"the {_WHAT[role]} ({name(role)}) of {int(missing.sum())} wells is missing and is taken from the other wells "
        f"of their {keys[-1]} ({shortened(rest)})"
    )
    return values, [note]


def _as_set(value: str) -> str:
    """The same text for the same labels in any order."""
    return SEVERAL.join(sorted(filter(None, map(str.strip, value.split(SEVERAL)))))


def _of_their_own(wells: pd.DataFrame) -> list[str]:
    """A note on plates without a batch where others have one."""
    notes = []
    for role in ("batch", "source"):
        plate, absent = ROLES["plate"], wells.get(ROLES[role], pd.Series(dtype=object)).isna()
        if plate in wells and absent.any():
            names = sorted(set(wells.loc[absent, plate].astype(str)))
            notes.append(
                f"the plate {names[0]} has no {role} and is one of its own"
                if len(names) == 1
                else f"{len(names)} plates have no {role}, and each is one of its own ({shortened(names, 5)})"
            )
    return notes
