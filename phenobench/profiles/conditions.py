"""Conditions that choose wells: ``Column=Value``, ``Column<50``, and several of them with commas between."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.profiles.formats import read_label_table
from phenobench.profiles.labels import cleaned, number_of
from phenobench.profiles.well_names import has_site, well_or_none

_OPERATORS: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "<": np.less,
    ">": np.greater,
}
_TERM = re.compile(r"(?P<name>.*?)(?P<operator><=|>=|!=|<|>|=)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One comparison of a column with a value."""

    name: str
    operator: str
    value: str


@dataclass(frozen=True)
class Named:
    """What a condition may name: the labels of a column, and whether it is a number or names wells.

    Attributes:
        labels: object (n,).
        is_number: a file keeps the column as numbers, which have no spelling.
        is_well: the column has the role of the well.
    """

    labels: np.ndarray
    is_number: bool = False
    is_well: bool = False


def parse(condition: str, known: Iterable[str]) -> tuple[Term, ...]:
    """The terms of a condition; all have to hold.

    A comma is one between terms where a known column and an operator follow it, else it is part of a value.

    Raises:
        InputError: there is no operator.
    """
    names = sorted(map(str, known), key=len, reverse=True)
    starts = "|".join(map(re.escape, names))
    if condition.strip() in names or not _TERM.fullmatch(condition):
        raise InputError(f"'{condition}' is no condition; write Column=Value")
    head, _, values = condition.partition("=")
    if "," in head and head not in names and all(part.strip() in names for part in head.split(",")):
        pairs = ",".join(f"{part}={value}" for part, value in zip(head.split(","), values.split(","), strict=False))
        raise InputError(f"'{condition}' is no condition; to have several hold at once, write \"{pairs}\"")
    pieces = re.split(rf",\s*(?=(?:{starts})\s*(?:<=|>=|!=|<|>|=))", condition) if starts else [condition]
    return tuple(_term(piece, names, condition) for piece in pieces)


def _term(text: str, names: Sequence[str], condition: str) -> Term:
    # A name may have an operator in it.
    for name in names:
        rest = text.strip()[len(name) :].lstrip()
        if text.strip().startswith(name) and (found := _TERM.fullmatch(rest)) and not found["name"]:
            return Term(name, found["operator"], found["value"])
    found = _TERM.fullmatch(text)
    if not found:
        raise InputError(f"'{condition}' is no condition; write Column=Value")
    return Term(found["name"].strip(), found["operator"], found["value"])


def names_in(conditions: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """The columns that conditions name; what is no condition names none."""
    known = [*known]
    found = set()
    for condition in conditions:
        try:
            found |= {term.name for term in parse(condition, known)}
        except InputError:
            continue
    return frozenset(found)


def matching(
    condition: str, known: Iterable[str], named: Callable[[str], Named], where: object
) -> tuple[np.ndarray, str | None]:
    """The rows that a condition names, boolean (n,), and the value that it asks for.

    None stands for a value that is empty, and for a condition that is no single comparison by "=".

    Raises:
        InputError: a column is not there, a value to be compared by size is no number, or no row matches.
    """
    terms = parse(condition, known)
    masks = [_holds(term, named(term.name), where) for term in terms]
    found: np.ndarray = np.logical_and.reduce(masks)
    if not found.any():
        raise InputError(_nothing(terms, masks, named, where))
    return found, cleaned(terms[0].value) if len(terms) == 1 and terms[0].operator == "=" else None


def _holds(term: Term, column: Named, where: object) -> np.ndarray:
    value = cleaned(term.value)
    if term.operator in _OPERATORS:
        number = None if value is None else number_of(value)
        if number is None:
            raise InputError(f"'{term.name}{term.operator}{term.value}' compares with no number; write Column<50")
        numbers = _numbers(term, column.labels, where)
        with np.errstate(invalid="ignore"):
            return _OPERATORS[term.operator](numbers, float(number))
    equal = _equal(column, value)
    return ~equal if term.operator == "!=" else equal


def _equal(column: Named, value: str | None) -> np.ndarray:
    codes, unique = pd.factorize(column.labels)
    if value is None:
        return codes < 0
    same = [label for label in unique if label == value]
    if column.is_well and (well := well_or_none(value)) is not None and not (same and has_site(value)):
        # A well is one in all spellings; of its sites one may be meant.
        same = [label for label in unique if label == value or well_or_none(label) == well]
    if not same and (number := number_of(value)) is not None:
        spelled = [label for label in unique if number_of(label) == number]
        # Of text that spells one number in several ways, none is meant more than another.
        same = spelled if column.is_number or len(spelled) == 1 else []
    return np.isin(codes, np.flatnonzero(np.isin(unique, same)))


def _numbers(term: Term, labels: np.ndarray, where: object) -> np.ndarray:
    codes, unique = pd.factorize(labels)
    values = []
    for label in unique:
        number = number_of(label)
        if number is None:
            raise InputError(
                f"{where}: {term.name} holds '{label}', which is no number to be compared with {term.value}; mend it, "
                f'or leave such wells out first, --exclude "{term.name}={label}"'
            )
        values.append(float(number))
    return np.array([*values, np.nan])[codes]


def _nothing(terms: Sequence[Term], masks: Sequence[np.ndarray], named: Callable[[str], Named], where: object) -> str:
    """The sentence where nothing matches: what the first term that never holds could have been."""
    failed = next((term for term, mask in zip(terms, masks, strict=True) if not mask.any()), None)
    if failed is None:
        whole = ",".join(f"{term.name}{term.operator}{term.value}" for term in terms)
        return f"{where}: no well has {whole} together, though each of them occurs; check the values"
    counts = pd.Series(named(failed.name).labels).value_counts()
    seen = ", ".join(f"{label} ({count})" for label, count in counts.head(6).items())
    sign = "=" if failed.operator == "=" else failed.operator
    return f"{where}: no well has {failed.name} {sign} '{failed.value}'; its values are {seen or 'all empty'}"


def _rows_by_value(column: Named) -> Callable[[str], np.ndarray]:
    """The rows whose label is a value, as ``_equal`` has it, found at once for many values."""
    codes, unique = pd.factorize(column.labels)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(unique) + 1))
    named = Named(np.asarray(unique, dtype=object), column.is_number, column.is_well)
    exact = {label: [code] for code, label in enumerate(unique)}

    def rows(value: str) -> np.ndarray:
        labels = exact.get(value)
        if labels is None or column.is_well:
            labels = known.setdefault(value, np.flatnonzero(_equal(named, value)).tolist())
        parts = [order[starts[code] : starts[code + 1]] for code in labels]
        return np.sort(np.concatenate(parts)) if parts else np.empty(0, dtype=np.intp)

    known: dict[str, list[int]] = {}
    return rows


def rows_of_file(
    path: Path, known: Iterable[str], named: Callable[[str], Named], where: object
) -> tuple[np.ndarray, list[str]]:
    """The rows that a table of conditions names, boolean (n,), and notes; its columns are columns of the profiles.

    A row of the table names the wells that have all of its values; an empty cell says nothing.

    Raises:
        InputError: the table cannot be read, has a column that profiles do not have, or no row of it matches.
    """
    table = read_label_table(path)
    names = [*known]
    strange = [name for name in table.columns if name not in names]
    if strange:
        raise InputError(
            f"{path}: the profiles have no column '{strange[0]}'; the columns of an exclude file are columns of the "
            f"profiles ({', '.join(names)})"
        )
    found = np.zeros(len(named(names[0]).labels) if names else 0, dtype=bool)
    idle = []
    rows_of = {str(name): _rows_by_value(named(str(name))) for name in table.columns}
    for number, row in enumerate(table.itertuples(index=False, name=None), start=1):
        said = [rows_of[str(name)](value) for name, value in zip(table.columns, row, strict=True) if value is not None]
        if not said:
            continue
        rows = reduce(partial(np.intersect1d, assume_unique=True), said)
        found[rows] = True
        if not len(rows):
            idle.append(number)
    if not found.any():
        raise InputError(f"{path}: no row of it matches a well of {where}; check its columns and values")
    if not idle:
        return found, []
    return found, [f"{len(idle)} rows of {path.name} match no well (first: row {idle[0]})"]
