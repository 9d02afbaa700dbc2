"""Wells by fields of an instrument, plates by files of one name, and rows that are no wells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import (
    Score,
    assert_refused,
    assert_score,
    command,
    make,
    replicates,
    run,
    targets_score,
    write,
)


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=177)


def wells_of_items() -> pd.Series:
    """The wells that the last run has in its items."""
    files = sorted(Path().glob("results*/*/*/*/*.items.parquet"), key=lambda path: path.stat().st_mtime)
    return pd.read_parquet(files[-1])["well"]


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
@pytest.mark.parametrize("spelling", ["{0}{1}_s1", "{0}{1}_s9", "{0}-{1}_s2"])
def test_a_site_is_noted_in_every_format(spelling: str, form: str, table: pd.DataFrame, right: Score) -> None:
    wells = [spelling.format(well[0], well[1:]) for well in table["Metadata_Well"]]
    done = run(write(table.assign(Metadata_Well=wells), f"sites.{form}"))
    assert_score(done, right)
    assert done.said("site"), done.warnings
    assert wells_of_items().isin(table["Metadata_Well"]).all()


@pytest.mark.parametrize("spelling", ["r{0:02d}c{1:02d}f03", "r{0:02d}c{1:02d}f01p01", "r{0:02d}c{1:02d}-ch1"])
def test_a_field_behind_row_and_column_is_noted_or_refused(spelling: str, table: pd.DataFrame, right: Score) -> None:
    wells = [spelling.format(ord(well[0]) - 64, int(well[1:])) for well in table["Metadata_Well"]]
    done = run(write(table.assign(Metadata_Well=wells), "fields.csv"))
    if done.code:
        assert_refused(done, f"'{wells[0]}'", "row 1")
    else:
        assert_score(done, right)
        assert done.warnings


def test_spellings_may_differ_from_file_to_file(table: pd.DataFrame, right: Score) -> None:
    plates = [rows for _, rows in table.groupby("Metadata_Plate")]
    spellings = ["r{0:02d}c{1:02d}", "{2}-{1:02d}", "{2}{1}", "{2}{1:03d}"]
    files = []
    for i, (rows, spelling) in enumerate(zip(plates, spellings, strict=True)):
        wells = [spelling.format(ord(well[0]) - 64, int(well[1:]), well[0]) for well in rows["Metadata_Well"]]
        files.append(write(rows.assign(Metadata_Well=wells), f"{i}.csv"))
    assert_score(run(files), right)
    assert wells_of_items().isin(table["Metadata_Well"]).all()


@pytest.mark.parametrize("column", ["Row", "Col"])
def test_a_row_or_column_that_is_missing_is_named(column: str, table: pd.DataFrame) -> None:
    parts = table.drop(columns="Metadata_Well").assign(
        Row=table["Metadata_Well"].str[0], Col=table["Metadata_Well"].str[1:]
    )
    parts.loc[3, column] = None
    for name in ("parts.csv", "parts.parquet"):
        assert_refused(run(write(parts, name), "--column well=Row,Col"), "row 4")


def test_row_and_column_may_be_letters_here_and_numbers_there(table: pd.DataFrame, right: Score) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    parts = table.drop(columns="Metadata_Well").assign(
        Row=table["Metadata_Well"].str[0], Col=table["Metadata_Well"].str[1:]
    )
    numbers = parts.assign(Row=[ord(row) - 64 for row in parts["Row"]], Col=parts["Col"].astype(float))
    files = [write(parts[first], "a.csv"), write(numbers[~first], "b.parquet")]
    assert_score(run(files, "--column well=Row,Col"), right)
    assert wells_of_items().isin(table["Metadata_Well"]).all()


# The plate as the file


def test_files_of_one_name_in_two_folders_are_not_one_plate(table: pd.DataFrame, right: Score) -> None:
    """``Q1/profiles.csv`` and ``Q2/profiles.csv``, whose wells differ: nothing would collide."""
    for plate, rows in table.groupby("Metadata_Plate"):
        write(rows.drop(columns="Metadata_Plate"), f"plates/{plate}/profiles.csv")
    done = run("plates/*/profiles.csv", "--plate-from-file")
    if done.code:
        assert_refused(done, "profiles.csv")
    else:
        assert_score(done, right)


def test_files_of_one_stem_in_two_formats_are_not_one_plate(table: pd.DataFrame) -> None:
    two = table[table["Metadata_Plate"] <= "Q2"]
    for plate, name in (("Q1", "plates/p.csv"), ("Q2", "plates/p.parquet")):
        write(two[two["Metadata_Plate"] == plate].drop(columns="Metadata_Plate"), name)
    done = run("plates", "--plate-from-file")
    if done.code:
        assert_refused(done, "plates/p")
    else:
        assert_score(done, replicates(two))


def test_a_plate_column_beside_plates_of_files_is_said_or_refused(table: pd.DataFrame) -> None:
    for i, (_, rows) in enumerate(table.groupby("Metadata_Plate")):
        write(rows, f"plates/file{i}.csv")
    done = run("plates", "--plate-from-file --column plate=Metadata_Plate")
    assert_refused(done, "--plate-from-file", "--column plate=")


def test_a_dot_in_a_file_name_is_part_of_the_plate(table: pd.DataFrame, right: Score) -> None:
    for i, (_, rows) in enumerate(table.groupby("Metadata_Plate")):
        write(rows.drop(columns="Metadata_Plate"), f"plates/BR1.{i}.csv.gz")
    assert_score(run("plates", "--plate-from-file"), right)


# Rows that are no wells


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
@pytest.mark.parametrize("kept", [["Metadata_Perturbation"], ["Metadata_Perturbation", "Metadata_Source"]])
def test_one_row_a_compound_needs_nothing_but_its_targets(kept: list[str], form: str) -> None:
    table = make(compounds=24, plates=1, controls=1, seed=178).assign(Metadata_Source="s")
    table = table[table["Metadata_pert_type"] == "trt"].reset_index(drop=True)
    targets = {name: [f"T{int(name[1:]) % 5}"] for name in table["Metadata_Perturbation"]}
    rows = table[[*kept, *[f"f{i}" for i in range(8)]]].assign(
        Metadata_Target=[targets[name][0] for name in table["Metadata_Perturbation"]]
    )
    done = run(write(rows, f"rows.{form}"), task="target-matching")
    assert_score(done, targets_score(table, targets), "compounds")


def test_two_rows_a_compound_without_plates_are_its_mean() -> None:
    table = make(compounds=16, plates=2, controls=1, seed=179)
    table = table[table["Metadata_pert_type"] == "trt"].reset_index(drop=True)
    targets = {name: [f"T{int(name[1:]) % 4}"] for name in table["Metadata_Perturbation"]}
    rows = table.drop(columns=["Metadata_Plate", "Metadata_Well", "Metadata_Batch", "Metadata_pert_type"])
    rows["Metadata_Target"] = [targets[name][0] for name in rows["Metadata_Perturbation"]]
    assert_score(run(write(rows, "rows.csv"), task="target-matching"), targets_score(table, targets), "compounds")


def test_normalize_of_plates_needs_no_well(table: pd.DataFrame) -> None:
    path = write(table.drop(columns="Metadata_Well"), "bare.csv")
    done = command("normalize", path, "--steps", "center", "--out", "out.parquet")
    assert done.code == 0, done.output
    assert_score(run("out.parquet"), run(write(table, "whole.csv"), how="center").score)


def test_rows_of_one_plate_without_wells_may_be_equal_in_all_labels(table: pd.DataFrame) -> None:
    """Several controls a plate have one name; none is a repetition of another."""
    done = run(write(table.drop(columns="Metadata_Well"), "bare.parquet"))
    assert done.code == 0, done.output
    assert done.result["screen"]["n_wells"] == len(table)


@pytest.mark.parametrize("missing", [1, 30])
def test_a_well_that_some_rows_lack_is_named(missing: int, table: pd.DataFrame) -> None:
    """A column of wells with gaps is not one without wells."""
    gaps = table.assign(Metadata_Well=table["Metadata_Well"].mask(np.arange(len(table)) < missing))
    assert_refused(run(write(gaps, "gaps.csv")), "row 1", "Metadata_Well")
