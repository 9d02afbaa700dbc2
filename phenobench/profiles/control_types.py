"""Which wells are controls: by the file's types and by conditions, and what is said where names and types disagree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from phenobench.errors import Faults, InputError
from phenobench.profiles.conditions import Named, matching
from phenobench.profiles.labels import JOINT, shortened, with_column
from phenobench.profiles.roles import PERT_TYPES, ROLES

# By these names the field's files call what is no treatment (JUMP's perturbation_control.csv, RxRx, LINCS).
_USUAL_CONTROLS = frozenset(
    [
        "dmso",
        "vehicle",
        "untreated",
        "mock",
        "empty",
        "emptycontrol",
        "nontargeting",
        "nontargetingcontrol",
        "ntc",
        "noguide",
        "nosgrna",
        "safeharbor",
        "scramble",
        "scrambled",
        "scrambledcontrol",
        "negcon",
        "negativecontrol",
        "negctrl",
        "control",
        "crisprcontrol",
        "blank",
        "media",
        "mediaonly",
        "pbs",
        "water",
        "lacz",
        "luciferase",
        "bfp",
        "hcred",
        "emptyvector",
        "jcp2022033924",
        "jcp2022800001",
        "jcp2022800002",
        "jcp2022915128",
        "jcp2022915129",
        "jcp2022915130",
        "jcp2022915131",
        "jcp2022999999",
    ]
)

# By what a well has its type.
BY_FILE, BY_CONDITION = 1, 2
_TYPES = pd.CategoricalDtype([*PERT_TYPES])
# With what it is dissolved in, or at which share.
_DMSO = re.compile(r"dmso(\W|_|$)", re.IGNORECASE)


def assign_types(
    wells: pd.DataFrame, columns: Mapping[str, Named], negcon: Sequence[str], label: Sequence[str], where: object
) -> tuple[pd.DataFrame, np.ndarray]:
    """The wells with a type each, and by what each has it: ``BY_FILE``, ``BY_CONDITION``, or 0 (n,).

    Wells that a condition names get its type and, where they have no perturbation, its value as one.

    Raises:
        InputError: a condition is not understood or names nothing; all such at once.
    """
    column, perturbation = ROLES["pert_type"], ROLES["perturbation"]
    given = wells[column] if column in wells else pd.Series(None, index=wells.index, dtype=object)
    codes, names = pd.factorize(given)
    known = [PERT_TYPES.index(text.lower()) if text.lower() in PERT_TYPES else 0 for text in names]
    kinds = np.array([*known, 0], dtype=np.int8)[codes]
    named = np.zeros(len(wells), dtype=bool)
    faults = Faults()
    labels = None
    for text, kind in [*((text, "negcon") for text in negcon), *((text, "") for text in label)]:
        with faults.caught():
            condition, of_kind = (text, kind) if kind else _type_label(text)
            mask, value = matching(condition, columns, columns.__getitem__, where)
            kinds[mask] = PERT_TYPES.index(of_kind)
            named |= mask
            if value is not None and perturbation in wells:
                labels = wells[perturbation].to_numpy(dtype=object, copy=True) if labels is None else labels
                labels[mask & pd.isna(labels)] = value
    faults.raise_any()
    found = with_column(wells, column, _types(kinds))
    if labels is not None:
        found = with_column(found, perturbation, pd.Categorical(labels))
    if any(text.lower() not in PERT_TYPES for text in names):
        found = with_column(found, f"{column}_given", given.to_numpy(dtype=object))
    return found, np.where(named, BY_CONDITION, np.where(codes >= 0, BY_FILE, 0))


def other_types(wells: pd.DataFrame, typed: np.ndarray) -> list[str]:
    """A note on types of the file that are none of ours, in wells that no condition named."""
    column = f"{ROLES['pert_type']}_given"
    if column not in wells:
        return []
    counts = wells.loc[typed != BY_CONDITION, column].value_counts()
    return [
        f"{count} wells of {ROLES['pert_type']} '{text}' are taken as treated"
        for text, count in counts.sort_index().items()
        if str(text).lower() not in PERT_TYPES and not str(text).lower().startswith("trt")
    ]


def _types(kinds: np.ndarray) -> pd.Categorical:
    return pd.Categorical.from_codes(kinds, dtype=_TYPES)  # type: ignore[arg-type]


def _type_label(text: str) -> tuple[str, str]:
    condition, colon, kind = text.rpartition(":")
    if not colon or kind not in PERT_TYPES:
        raise InputError(f"'{text}' is no label; write Column=Value:type with type one of {', '.join(PERT_TYPES)}")
    return condition, kind


def one_type_a_control(wells: pd.DataFrame, typed: np.ndarray, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Wells without a type get that of a control of their name; names that are control here and treated there are told.

    Args:
        wells: with types.
        typed: by what, ``BY_FILE``, ``BY_CONDITION`` or 0 (n,); only what the file says is filled elsewhere.
        name: how options call the column of perturbations.
    """
    column, perturbation = ROLES["pert_type"], ROLES["perturbation"]
    if perturbation not in wells:
        return wells, ()
    codes, names = pd.factorize(wells[perturbation])
    kind = wells[column].cat.codes.to_numpy(copy=True)
    counts = _counted(codes, kind, len(names))
    notes = []
    for of_control, what in (("negcon", "negative"), ("poscon", "positive")):
        controls = np.isin(np.arange(len(names)), codes[(kind == PERT_TYPES.index(of_control)) & (typed == BY_FILE)])
        untyped = (kind == PERT_TYPES.index("trt")) & (typed == 0) & np.append(controls, False)[codes]
        if untyped.any():
            kind[untyped] = PERT_TYPES.index(of_control)
            filled = sorted(names[np.unique(codes[untyped])])
            notes.append(
                f"{int(untyped.sum())} wells without a type are of {shortened(filled)}, a {what} control elsewhere, "
                "and are taken as such"
            )
            counts = _counted(codes, kind, len(names))
    by_name = sorted(zip(names, counts[:-1].tolist(), strict=True))
    option = f'--negcon "{name.split(JOINT)[0]}='
    for label, (treated, negative, positive, _) in by_name:
        if negative and treated + positive:
            notes.append(
                f"{label} is a negative control in {negative} wells and treated in {treated + positive}; if it is one, "
                f'say {option}{_first(label)}"'
            )
        elif treated and _is_usual_control(label):
            notes.append(
                f"{label} ({treated} wells) is usually a control and is treated here; if it is one, say "
                f'{option}{_first(label)}"'
            )
    return with_column(wells, column, _types(kind)), tuple(notes)


def _counted(codes: np.ndarray, kind: np.ndarray, n: int) -> np.ndarray:
    """How many wells of each of n names have each type, int (n + 1, types); the last are of wells without a name."""
    code = np.where(codes < 0, n, codes) * len(PERT_TYPES) + kind
    return np.bincount(code, minlength=(n + 1) * len(PERT_TYPES)).reshape(n + 1, -1)


def _first(label: str) -> str:
    """The first part of a joined label."""
    return label.split(JOINT)[0]


def _is_usual_control(label: str) -> bool:
    parts = {label, _first(label)}
    return any(
        "".join(filter(str.isalnum, part.casefold())) in _USUAL_CONTROLS or _DMSO.match(part) is not None
        for part in parts
    )
