"""Labels in every role: texts that a reader of numbers would touch, and numbers beside the texts of another file."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import (
    Score,
    assert_score,
    compound_numbers,
    make,
    pca_scaled,
    renamed,
    replicates,
    run,
    same,
    write,
    write_h5ad,
    write_typed,
)

# Ten names a row, of which several would be one number, one truth or nothing at all to somebody who guesses.
GROUPS = {
    "points": ["0.1", "0.10", ".1", "1.", "1", "1.0", "-0", "0", "0.0", "+0"],
    "infinite": ["inf", "Infinity", "-inf", "+inf", "1e400", "1e500", "INF", "1E309", "-1e400", "infinity"],
    "grouped": ["1_000", "1000", "1,000", "1 000", "1'000", "1000.0", "1e3", "\uff11000", "\u0661000", "01000"],
    "truths": ["True", "TRUE", "true", "T", "t", "yes", "Y", "1", "on", "False"],
    "bases": ["0x10", "0b10", "0o10", "16", "010", "10", "0X10", "10h", "1d1", "10f"],
    "not missing": ["none", "NULL?", "-nan", "NaT", "nil", "missing", "1.#IND", "-", "?", "#NA"],
    "signs": ["5'-FU", '="012"', "#1", "a|b", "a\\b", "@x", "%", "*", "=1+1", "012"],
    "dates": [
        "Mar-02",
        "2-Mar",
        "2024-03-02",
        "02/03/2024",
        "03/02/2024",
        "20240302",
        "12:30",
        "12:30:00",
        "00:30",
        "P1D",
    ],
    "long": [
        *("9" * n + end for n in (19, 17) for end in "98"),
        "1" * 40,
        "1" * 39 + "2",
        "0" * 20,
        "0" * 19,
        str(2**53 + 1),
        str(2**53),
    ],
}


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=171)


@pytest.mark.parametrize(
    ("group", "form"),
    [*((group, "csv") for group in GROUPS), *((group, "h5ad") for group in ("points", "infinite", "long"))],
)
def test_ten_texts_are_ten_labels(group: str, form: str, table: pd.DataFrame, right: Score) -> None:
    assert_score(run(write(renamed(table, GROUPS[group]), f"named.{form}")), right)


@pytest.mark.parametrize("group", ["points", "grouped", "long"])
def test_ten_texts_are_ten_labels_in_files_of_two_formats(group: str, table: pd.DataFrame, right: Score) -> None:
    named = renamed(table, GROUPS[group])
    first = named["Metadata_Plate"] <= "Q2"
    assert_score(run([write(named[first], "a.csv"), write(named[~first], "b.parquet")]), right)


# How a csv is written


@pytest.mark.parametrize(
    "options",
    [
        {"quoting": csv.QUOTE_ALL},
        {"quoting": csv.QUOTE_NONNUMERIC},
        {"lineterminator": "\r\n"},
        {"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n", "encoding": "utf-8-sig"},
    ],
    ids=["quoted", "texts-quoted", "windows", "quoted-windows-mark"],
)
def test_quotes_and_line_ends_are_no_part_of_a_label(options: dict[str, Any], table: pd.DataFrame) -> None:
    names = ["012", "12", "1E1", "10", "10.0", "True", "1", "a b", "a,b", 'a"b']
    first = table["Metadata_Plate"] <= "Q2"
    named = renamed(table, names)
    named[first].to_csv("a.csv", index=False, **options)
    assert_score(run(["a.csv", write(named[~first], "b.csv")]), replicates(table))


def test_empty_lines_at_the_end_are_no_rows(table: pd.DataFrame, right: Score) -> None:
    Path("lines.csv").write_text(table.to_csv(index=False) + "\n\n")
    done = run("lines.csv")
    assert_score(done, right)
    assert done.result["screen"]["n_wells"] == len(table)


# Numbers of one file beside the texts of another, in each role


def split(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Half of the wells of each plate, and the other half."""
    even = np.arange(len(table)) % 2 == 0
    return table[even].reset_index(drop=True), table[~even].reset_index(drop=True)


@pytest.mark.parametrize("text", ["{}", "{:03d}", "{}.00"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.float32(), pa.decimal128(9, 2)], ids=str)
def test_a_plate_that_is_a_number_in_one_file_is_the_text_of_the_other(
    kind: pa.DataType, text: str, table: pd.DataFrame, right: Score
) -> None:
    numbers = table["Metadata_Plate"].str[1:].astype(int) + 6
    a, b = split(table.assign(Metadata_Plate=numbers))
    whole = pa.Table.from_pandas(a.drop(columns="Metadata_Plate"), preserve_index=False)
    cells = [Decimal(number) for number in a["Metadata_Plate"]]
    plates = pa.array(cells).cast(kind) if pa.types.is_decimal(kind) else pa.array(a["Metadata_Plate"]).cast(kind)
    pq.write_table(whole.append_column("Metadata_Plate", plates), "a.parquet")
    named = b.assign(Metadata_Plate=[text.format(number) for number in b["Metadata_Plate"]])
    done = run(["a.parquet", write(named, "b.csv")])
    assert_score(done, right)
    assert done.result["screen"]["n_plates"] == 4


@pytest.mark.parametrize("text", ["{}", "{:02d}", "{}.0"])
@pytest.mark.parametrize("form", ["parquet", "h5ad"])
def test_a_batch_that_is_a_number_in_one_file_is_the_text_of_the_other(
    form: str, text: str, table: pd.DataFrame
) -> None:
    right = replicates(table, X=pca_scaled(table, table["Metadata_Batch"]))
    assert not same(right, replicates(table, X=pca_scaled(table, table["Metadata_Plate"])))
    numbers = table["Metadata_Batch"].str[4:].astype(int)
    odd = table["Metadata_Plate"].isin(["Q1", "Q3"])
    a = write(table.assign(Metadata_Batch=numbers)[odd].reset_index(drop=True), f"a.{form}")
    b = write(table.assign(Metadata_Batch=[text.format(number) for number in numbers])[~odd], "b.csv")
    assert_score(run([a, b], how="pca-cs"), right)


@pytest.mark.parametrize("kind", ["int", "float", "bool", "Int64", "boolean"])
def test_numbers_of_h5ad_are_the_texts_of_csv(kind: str, table: pd.DataFrame, right: Score) -> None:
    """What obs keeps as numbers and truths, a csv keeps as their text."""
    truths = kind in ("bool", "boolean")
    numbers = [i % 2 if truths else i for i in compound_numbers(table)]
    column = pd.Series(numbers).astype("int64").astype(kind)  # type: ignore[call-overload]
    parts = table.rename(columns={"Metadata_Perturbation": "Metadata_Name"}).assign(Metadata_Dose=column)
    first = parts["Metadata_Plate"] <= "Q2"
    a = write_h5ad(parts[first].reset_index(drop=True), "a.h5ad")
    b = write(parts[~first].assign(Metadata_Dose=[str(value) for value in column[~first]]), "b.csv")
    assert_score(run([a, b], "--column perturbation=Metadata_Name,Metadata_Dose"), right)


@pytest.mark.parametrize(
    "values", [(0.1, 0.2, 0.3), (10.0, 0.5, 1e-6), (1 / 3, 2 / 3, 0.05)], ids=["tenths", "orders", "thirds"]
)
@pytest.mark.parametrize("other", ["float16-text", "decimal", "csv", "h5ad"])
def test_a_dose_is_one_label_however_a_file_keeps_it(
    other: str, values: tuple[float, ...], table: pd.DataFrame, right: Score
) -> None:
    doses = [None if i < 0 else values[i % 3] for i in compound_numbers(table)]
    dosed = table.assign(Metadata_Dose=pd.Series(doses, dtype=float))
    first = dosed["Metadata_Plate"] <= "Q2"
    a, b = dosed[first].reset_index(drop=True), dosed[~first].reset_index(drop=True)
    writers: dict[str, Callable[[], str]] = {
        "float16-text": lambda: write(a.assign(Metadata_Dose=a["Metadata_Dose"].map(repr).replace("nan", "")), "a.tsv"),
        "decimal": lambda: write_decimal(a, "a.parquet"),
        "csv": lambda: write(a, "a.csv"),
        "h5ad": lambda: write_h5ad(a, "a.h5ad"),
    }
    if other == "decimal" and values[0] == 1 / 3:
        pytest.skip("a third is no decimal")
    files = [writers[other](), write(b, "b.parquet")]
    assert_score(run(files, "--column perturbation=Metadata_Perturbation,Metadata_Dose"), right)


def write_decimal(table: pd.DataFrame, name: str) -> str:
    """Doses as decimals of eight places: 0.10000000."""
    cells = [
        None if pd.isna(dose) else Decimal(repr(dose)).quantize(Decimal("1e-8")) for dose in table["Metadata_Dose"]
    ]
    whole = pa.Table.from_pandas(table.drop(columns="Metadata_Dose"), preserve_index=False)
    pq.write_table(whole.append_column("Metadata_Dose", pa.array(cells, pa.decimal128(20, 8))), name)
    return name


def test_half_precision_doses_are_their_shortest_text(table: pd.DataFrame, right: Score) -> None:
    doses = np.array([np.nan if i < 0 else (0.1, 2.5, 0.3)[i % 3] for i in compound_numbers(table)])
    first = (table["Metadata_Plate"] <= "Q2").to_numpy()
    whole = pa.Table.from_pandas(table[first], preserve_index=False)
    half = pa.array(doses[first].astype(np.float16), pa.float16())
    pq.write_table(whole.append_column("Metadata_Dose", half), "a.parquet")
    b = write(table.assign(Metadata_Dose=doses)[~first], "b.parquet")
    assert_score(run(["a.parquet", b], "--column perturbation=Metadata_Perturbation,Metadata_Dose"), right)


def test_names_kept_as_bytes_are_the_texts_of_another_file(table: pd.DataFrame, right: Score) -> None:
    """Old writers leave text as bytes without a mark that it is text."""
    first = table["Metadata_Plate"] <= "Q2"
    roles = ["Metadata_Plate", "Metadata_Well", "Metadata_Batch", "Metadata_Perturbation", "Metadata_pert_type"]
    a = write_typed(table[first], "a.parquet", **dict.fromkeys(roles, pa.binary()))
    assert_score(run([a, write(table[~first], "b.csv")]), right)


@pytest.mark.parametrize(
    "kind",
    [
        pa.dictionary(pa.uint32(), pa.large_string()),
        pa.dictionary(pa.int64(), pa.string(), ordered=True),
        pa.dictionary(pa.uint8(), pa.large_string()),
    ],
    ids=str,
)
def test_categories_of_polars_and_others_are_texts(kind: pa.DataType, table: pd.DataFrame, right: Score) -> None:
    named = renamed(table, ["012", "12", "1E1", "10", "10.0", "00", "0", "+5", "5", "True"])
    roles = ["Metadata_Plate", "Metadata_Batch", "Metadata_Perturbation", "Metadata_pert_type"]
    first = named["Metadata_Plate"] <= "Q2"
    a = write_typed(named[first], "a.parquet", **dict.fromkeys(roles, kind))
    assert_score(run([a, write(named[~first], "b.csv")]), right)


def test_integers_beyond_floats_are_whole_and_without_a_note(table: pd.DataFrame, right: Score) -> None:
    ids = renamed(table, [2**53 + i for i in range(10)], None)
    first = ids["Metadata_Plate"] <= "Q2"
    a = write_typed(ids[first], "a.parquet", Metadata_Perturbation=pa.int64())
    b = write(renamed(table, [str(2**53 + i) for i in range(10)], "")[~first], "b.csv")
    done = run([a, b])
    assert_score(done, right)
    assert not done.said("Metadata_Perturbation"), done.warnings


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_moment_is_one_label_whatever_its_resolution(zone: str | None, table: pd.DataFrame) -> None:
    right = replicates(table, X=pca_scaled(table, table["Metadata_Batch"]))
    utc = datetime.UTC if zone else None
    moments = {"week1": datetime.datetime(2024, 1, 5, 12, 30, tzinfo=utc)}
    moments["week2"] = datetime.datetime(2024, 1, 5, 12, 30, 1, tzinfo=utc)
    files = []
    for i, unit in enumerate(("s", "ms", "us", "ns")):
        rows = table[table["Metadata_Plate"] == f"Q{i + 1}"]
        whole = pa.Table.from_pandas(rows.drop(columns="Metadata_Batch"), preserve_index=False)
        cells = pa.array([moments[batch] for batch in rows["Metadata_Batch"]], pa.timestamp(unit, zone))
        pq.write_table(whole.append_column("Metadata_Batch", cells), f"{unit}.parquet")
        files.append(f"{unit}.parquet")
    assert_score(run(files, how="pca-cs"), right)
