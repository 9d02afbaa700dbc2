"""Well names: every spelling of a well becomes one, and what is no well is refused with its row."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenobench.errors import InputError
from phenobench.profiles.well_names import normalize_well, normalize_wells

ROWS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE", "AF"]


@given(
    row=st.sampled_from(ROWS),
    column=st.integers(1, 48),
    zeros=st.integers(0, 4),
    lower=st.booleans(),
    blanks=st.sampled_from(["", " ", "\u00a0", "\t"]),
)
def test_every_spelling_of_a_well_is_one_name(row: str, column: int, zeros: int, lower: bool, blanks: str) -> None:
    spelled = f"{blanks}{row.lower() if lower else row}{'0' * zeros}{column}{blanks}"
    name = normalize_well(spelled)
    assert name == f"{row}{column:02d}"
    assert normalize_well(name) == name


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        *[("A01", "A01"), ("a1", "A01"), ("A001", "A01"), ("p24", "P24"), ("AF48", "AF48"), ("aA7", "AA07")],
        *[("A-01", "A01"), ("C_2", "C02"), ("r01c01", "A01"), ("R32C48", "AF48"), ("r27c3", "AA03")],
        *[("A01_s1", "A01"), ("B2-site3", "B02"), ("r02c03f05p01", "B03"), ("A01f2", "A01")],
    ],
)
def test_known_spellings(spelled: str, name: str) -> None:
    assert normalize_well(spelled) == name


@pytest.mark.parametrize(
    "name",
    [
        *["", "A", "1", "A0", "A00", "A49", "AG01", "AAA1", "1A", "A1.0", "A 1", "A01 B01", "r0c1", "r33c1", "A-49"],
        *["A01_s", "1-2", "\u00c41", "A\u0661"],
    ],
)
def test_what_is_no_well_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"'{name}' is no well name; write wells as A01")):
        normalize_well(name)


@given(st.text(max_size=6))
def test_a_name_is_read_or_refused(name: str) -> None:
    try:
        read = normalize_well(name)
    except InputError:
        return
    assert re.fullmatch(r"[A-Z]{1,2}[0-9]{2}", read)


def test_a_column_is_read_in_place() -> None:
    names = pd.Series(["b2", "A1", "b02", "AF48"], index=[7, 3, 5, 1], name="Metadata_Well")
    read = normalize_wells(names, str)
    assert read.tolist() == ["B02", "A01", "B02", "AF48"]
    assert read.index.equals(names.index)
    assert read.name == "Metadata_Well"


def test_the_first_bad_row_is_named() -> None:
    names = pd.Series(["A1", "A1", "xx", "A2", "xx", "yy"], name="Metadata_Well")
    with pytest.raises(InputError, match=r"^at 2: 'xx' is no well name"):
        normalize_wells(names, lambda row: f"at {row}")
    names = pd.Series(["A1", None], name="Metadata_Well")
    with pytest.raises(InputError, match=r"^at 1 has no well name; .*--exclude Metadata_Well=$"):
        normalize_wells(names, lambda row: f"at {row}")
