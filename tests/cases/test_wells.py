"""Wells in the spellings of instruments, in two columns, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import Score, assert_refused, assert_score, make, replicates, run, targets_score, write

SPELLINGS: dict[str, Callable[[str, int], str]] = {
    "r01c01": lambda row, column: f"r{ord(row) - 64:02d}c{column:02d}",
    "R1C1": lambda row, column: f"R{ord(row) - 64}C{column}",
    "A-01": lambda row, column: f"{row}-{column:02d}",
    "C-2": lambda row, column: f"{row}-{column}",
    "A_01": lambda row, column: f"{row}_{column:02d}",
    "a1": lambda row, column: f"{row.lower()}{column}",
    "A001": lambda row, column: f"{row}{column:03d}",
    " A01 ": lambda row, column: f" {row}{column:02d} ",
}
SITES = ["{}_s1", "{}_S1", "{}_1", "{}-site1"]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=83)


def spelled(table: pd.DataFrame, how: Callable[[str, int], str]) -> pd.DataFrame:
    return table.assign(Metadata_Well=[how(well[0], int(well[1:])) for well in table["Metadata_Well"]])


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("form", ["csv", "h5ad"])
def test_a_well_is_read_in_each_spelling(spelling: str, form: str, table: pd.DataFrame, right: Score) -> None:
    done = run(write(spelled(table, SPELLINGS[spelling]), f"wells.{form}"))
    assert_score(done, right)
    assert (
        pd.read_parquet(next(Path().glob("results*/*/*/*/*.items.parquet")))["well"].isin(table["Metadata_Well"]).all()
    )


def test_two_spellings_of_one_well_are_one_well(table: pd.DataFrame) -> None:
    first = str(table["Metadata_Well"].iloc[0])
    twice = table.copy()
    twice.loc[1, "Metadata_Well"] = SPELLINGS["r01c01"](first[0], int(first[1:]))
    assert_refused(run(write(twice, "twice.csv")), str(table.loc[0, "Metadata_Well"]), "row 1", "row 2")


@pytest.mark.parametrize("site", SITES)
def test_a_site_behind_the_well_is_noted(site: str, table: pd.DataFrame, right: Score) -> None:
    done = run(write(table.assign(Metadata_Well=[site.format(well) for well in table["Metadata_Well"]]), "sites.csv"))
    assert_score(done, right)
    assert done.said("site"), done.warnings


def test_two_sites_of_a_well_are_two_rows_of_it(table: pd.DataFrame) -> None:
    two = pd.concat([table.assign(Metadata_Well=table["Metadata_Well"] + f"_s{site}") for site in (1, 2)])
    assert_refused(run(write(two, "two.csv")), "row ", str(table.loc[0, "Metadata_Well"]))


ROWS: dict[str, Callable[[str], object]] = {
    "numbers": lambda row: ord(row) - 64,
    "letters": lambda row: row,
    "small letters": lambda row: row.lower(),
    "padded": lambda row: f"{ord(row) - 64:02d}",
    "floats": lambda row: float(ord(row) - 64),
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_row_and_column_may_be_two_columns(rows: str, form: str, table: pd.DataFrame, right: Score) -> None:
    columns = table["Metadata_Well"].str[1:]
    parts = table.drop(columns="Metadata_Well").assign(
        Metadata_Row=table["Metadata_Well"].str[0].map(ROWS[rows]),
        Metadata_Col=columns if rows == "padded" else columns.astype(float if rows == "floats" else int),
    )
    path = write(parts, f"parts.{form}")
    assert_score(run(path, "--column well=Metadata_Row,Metadata_Col"), right)
    items = pd.read_parquet(next(Path().glob("results*/*/*/*/*.items.parquet")))
    assert items["well"].isin(table["Metadata_Well"]).all()


def test_rows_beyond_z_are_of_1536_wells(table: pd.DataFrame, right: Score) -> None:
    rows = [32 if well[0] == "A" else ord(well[0]) - 64 for well in table["Metadata_Well"]]
    parts = table.drop(columns="Metadata_Well").assign(Row=rows, Col=table["Metadata_Well"].str[1:].astype(int) + 36)
    assert_score(run(write(parts, "parts.csv"), "--column well=Row,Col"), right)
    items = pd.read_parquet(next(Path().glob("results*/*/*/*/*.items.parquet")))
    assert items["well"].str.startswith("AF").any()


@pytest.mark.parametrize("well", ["nowhere", "A00", "A49", "AG01", "r33c01", "r01c49", "1", "A", "01A1", "A1.5"])
def test_a_name_that_cannot_be_read_stays_an_error(well: str, table: pd.DataFrame) -> None:
    other = table.copy()
    other.loc[3, "Metadata_Well"] = well
    assert_refused(run(write(other, "other.csv")), f"'{well}'", "row 4")


def test_a_row_and_column_that_cannot_be_read_are_named(table: pd.DataFrame) -> None:
    parts = table.drop(columns="Metadata_Well").assign(Row=40, Col=table["Metadata_Well"].str[1:].astype(int))
    assert_refused(run(write(parts, "parts.csv"), "--column well=Row,Col"), "40", "row 1")


# Without wells or plates


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_replicates_need_no_well(form: str, table: pd.DataFrame, right: Score) -> None:
    assert_score(run(write(table.drop(columns="Metadata_Well"), f"bare.{form}")), right)


def test_replicates_need_a_plate_and_say_how_to_name_one(table: pd.DataFrame) -> None:
    done = run(write(table.drop(columns=["Metadata_Plate", "Metadata_Batch"]), "bare.csv"))
    assert_refused(done, "plate", "--column plate=")


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_one_row_a_compound_is_scored_without_plate_and_well(form: str) -> None:
    table = make(compounds=30, plates=1, controls=1, seed=84)
    table = table[table["Metadata_pert_type"] == "trt"].reset_index(drop=True)
    targets = {name: [f"T{int(name[1:]) % 6}"] for name in table["Metadata_Perturbation"]}
    rows = table.drop(columns=["Metadata_Plate", "Metadata_Well", "Metadata_Batch", "Metadata_pert_type"])
    rows["Metadata_Target"] = [targets[name][0] for name in rows["Metadata_Perturbation"]]
    assert_score(run(write(rows, f"rows.{form}"), task="target-matching"), targets_score(table, targets), "compounds")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet", ".h5ad"])
def test_the_plate_may_be_the_file(suffix: str, table: pd.DataFrame, right: Score) -> None:
    for plate, rows in table.groupby("Metadata_Plate"):
        write(rows.drop(columns="Metadata_Plate").reset_index(drop=True), f"plates/{plate}{suffix}")
    done = run("plates", "--plate-from-file")
    assert_score(done, right)
    items = pd.read_parquet(next(Path().glob("results*/*/*/*/*.items.parquet")))
    assert set(items["plate"]) == {"Q1", "Q2", "Q3", "Q4"}


def test_plates_from_files_keep_the_names_of_files_as_text(table: pd.DataFrame, right: Score) -> None:
    names = dict(zip(["Q1", "Q2", "Q3", "Q4"], ["012", "12", "1E1", "10"], strict=True))
    for plate, rows in table.groupby("Metadata_Plate"):
        write(rows.drop(columns="Metadata_Plate"), f"plates/{names[str(plate)]}.csv")
    assert_score(run("plates/*.csv", "--plate-from-file"), right)
    items = pd.read_parquet(next(Path().glob("results*/*/*/*/*.items.parquet")))
    assert set(items["plate"]) == set(names.values())


def test_sources_are_one_row_a_perturbation(table: pd.DataFrame) -> None:
    """A source in place of a plate: one row a compound and source."""
    rows = table[table["Metadata_pert_type"] == "trt"].rename(columns={"Metadata_Plate": "Metadata_Site_of_work"})
    rows = rows.drop(columns=["Metadata_Well", "Metadata_Batch", "Metadata_pert_type"])
    done = run(write(rows, "sources.parquet"), "--column plate=Metadata_Site_of_work")
    assert_score(done, replicates(table))


def test_no_value_of_the_table_is_left_out_where_wells_are_absent(table: pd.DataFrame) -> None:
    done = run(write(table.drop(columns="Metadata_Well"), "bare.csv"))
    assert done.result["screen"]["n_wells"] == len(table)
    assert not np.any(list(done.dropped.values()))
