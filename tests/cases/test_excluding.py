"""Leaving wells out: conditions that hold together, numbers, and files of conditions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import assert_refused, assert_score, make, replicates, run, write


@pytest.fixture(scope="module", name="table")
def with_counts() -> pd.DataFrame:
    table = make(seed=86)
    counts = np.random.default_rng(87).integers(0, 200, len(table)).astype(float)
    counts[:4] = [50, 49, 51, 49.5]
    return table.assign(Metadata_Count_Cells=counts)


def rest(table: pd.DataFrame, out: pd.Series | np.ndarray) -> pd.DataFrame:
    return table[~np.asarray(out)].reset_index(drop=True)


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
@pytest.mark.parametrize("between", [",", ", "])
def test_conditions_with_a_comma_hold_together(between: str, form: str, table: pd.DataFrame) -> None:
    well = str(table["Metadata_Well"].iloc[2])
    out = (table["Metadata_Plate"] == "Q1") & (table["Metadata_Well"] == well)
    assert out.sum() == 1
    done = run(write(table, f"table.{form}"), f'--exclude "Metadata_Plate=Q1{between}Metadata_Well={well}"')
    assert_score(done, replicates(rest(table, out)))
    assert sum(done.dropped.values()) == 1, done.dropped
    assert done.result["screen"]["n_wells"] == len(table) - 1


def test_a_well_is_meant_in_any_spelling(table: pd.DataFrame) -> None:
    well = str(table["Metadata_Well"].iloc[2])
    other = f"{well[0].lower()}{int(well[1:])}"
    out = (table["Metadata_Plate"] == "Q1") & (table["Metadata_Well"] == well)
    done = run(write(table, "table.csv"), f'--exclude "Metadata_Plate=Q1,Metadata_Well={other}"')
    assert_score(done, replicates(rest(table, out)))


def test_three_conditions_and_several_options_add_up(table: pd.DataFrame) -> None:
    out = (
        (table["Metadata_Plate"] == "Q1")
        & (table["Metadata_Batch"] == "week1")
        & (table["Metadata_Perturbation"] == "c03")
    ) | (table["Metadata_Perturbation"] == "c05")
    first = '--exclude "Metadata_Plate=Q1,Metadata_Batch=week1,Metadata_Perturbation=c03"'
    done = run(write(table, "table.csv"), f"{first} --exclude Metadata_Perturbation=c05")
    assert_score(done, replicates(rest(table, out)))
    assert sorted(done.dropped.values()) == [1, 4], done.dropped


def test_conditions_that_never_hold_together_are_refused(table: pd.DataFrame) -> None:
    path = write(table, "table.csv")
    assert_refused(run(path, '--exclude "Metadata_Plate=Q1,Metadata_Batch=week2"'), "Metadata_Plate", "week2")
    assert_refused(run(path, "--exclude Metadata_Plate,Metadata_Well=Q1,A01"), "Metadata_Plate=Q1,Metadata_Well=A01")


def test_a_comma_in_a_value_is_part_of_it(table: pd.DataFrame) -> None:
    named = table.assign(Metadata_Perturbation=table["Metadata_Perturbation"].replace("c03", "2,4-D=x"))
    done = run(write(named, "table.csv"), '--exclude "Metadata_Perturbation=2,4-D=x"')
    assert_score(done, replicates(rest(table, table["Metadata_Perturbation"] == "c03")))


@pytest.mark.parametrize("condition", ["<50", "<=49.5", "<5e1", "< 50", ">150", ">=50"])
@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_numbers_are_compared_by_size(condition: str, form: str, table: pd.DataFrame) -> None:
    counts = table["Metadata_Count_Cells"]
    out = {"<50": counts < 50, "<=49.5": counts <= 49.5, "<5e1": counts < 50, "< 50": counts < 50}
    more = {">150": counts > 150, ">=50": counts >= 50}
    right = replicates(rest(table, (out | more)[condition]))
    done = run(write(table, f"table.{form}"), f'--exclude "Metadata_Count_Cells{condition}"')
    assert_score(done, right)
    assert sum(done.dropped.values()) == (out | more)[condition].sum(), done.dropped


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_missing_is_no_small_number(form: str, table: pd.DataFrame) -> None:
    counts = table["Metadata_Count_Cells"].mask(np.arange(len(table)) % 7 == 0)
    path = write(table.assign(Metadata_Count_Cells=counts), f"gaps.{form}")
    done = run(path, '--exclude "Metadata_Count_Cells<50"')
    assert_score(done, replicates(rest(table, counts < 50)))


def test_numbers_and_labels_go_together(table: pd.DataFrame) -> None:
    out = (table["Metadata_Count_Cells"] < 100) & (table["Metadata_Plate"] == "Q2")
    path = write(table, "table.csv")
    assert_score(run(path, '--exclude "Metadata_Count_Cells<100,Metadata_Plate=Q2"'), replicates(rest(table, out)))
    assert_score(run(path, '--exclude "Metadata_Plate=Q2,Metadata_Count_Cells<100"'), replicates(rest(table, out)))


def test_a_size_of_what_is_no_number_is_refused(table: pd.DataFrame) -> None:
    path = write(table, "table.csv")
    assert_refused(run(path, '--exclude "Metadata_Perturbation<50"'), "Metadata_Perturbation", "c0")
    assert_refused(run(path, '--exclude "Metadata_Count_Cells<many"'), "many")
    assert_refused(run(path, '--exclude "Metadata_Count<50"'), "Metadata_Count")


# Files of conditions


@pytest.mark.parametrize("name", ["bad.csv", "bad.tsv", "bad.csv.gz", "bad.parquet"])
def test_each_row_of_a_file_names_wells(name: str, table: pd.DataFrame) -> None:
    bad = table.iloc[[2, 17, 33, 40]]
    path = write(bad[["Metadata_Plate", "Metadata_Well"]], name)
    done = run(write(table, "table.csv"), f"--exclude-file {path}")
    assert_score(done, replicates(rest(table, table.index.isin(bad.index))))
    assert sum(done.dropped.values()) == 4, done.dropped


def test_an_empty_cell_says_nothing(table: pd.DataFrame) -> None:
    Path("bad.csv").write_text("Metadata_Plate,Metadata_Perturbation\nQ1,c03\n,c05\nQ4,\n")
    out = (
        ((table["Metadata_Plate"] == "Q1") & (table["Metadata_Perturbation"] == "c03"))
        | (table["Metadata_Perturbation"] == "c05")
        | (table["Metadata_Plate"] == "Q4")
    )
    assert_score(run(write(table, "table.csv"), "--exclude-file bad.csv"), replicates(rest(table, out)))


def test_labels_in_the_file_are_text_too(table: pd.DataFrame) -> None:
    names = {"c00": "012", "c01": "12", "c02": "1E1", "c03": "10", "c04": "10.0"}
    named = table.assign(Metadata_Perturbation=table["Metadata_Perturbation"].replace(names))
    Path("bad.csv").write_text("Metadata_Perturbation\n012\n10.0\n")
    done = run(write(named, "table.csv"), "--exclude-file bad.csv")
    assert_score(done, replicates(rest(table, table["Metadata_Perturbation"].isin(["c00", "c04"]))))


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_numbers_in_the_file_are_those_of_the_table(form: str, table: pd.DataFrame) -> None:
    plates = table["Metadata_Plate"].str[1:].astype(int)
    numbered = table.assign(Metadata_Plate=plates)
    bad = pd.DataFrame({"Metadata_Plate": [2, 3], "Metadata_Perturbation": ["c01", "c02"]})
    done = run(write(numbered, "table.parquet"), f"--exclude-file {write(bad, f'bad.{form}')}")
    out = ((plates == 2) & (table["Metadata_Perturbation"] == "c01")) | (
        (plates == 3) & (table["Metadata_Perturbation"] == "c02")
    )
    assert_score(done, replicates(rest(table, out)))


def test_rows_that_name_no_well_are_noted(table: pd.DataFrame) -> None:
    Path("bad.csv").write_text("Metadata_Plate,Metadata_Perturbation\nQ1,c03\nQ9,c03\n")
    done = run(write(table, "table.csv"), "--exclude-file bad.csv")
    out = (table["Metadata_Plate"] == "Q1") & (table["Metadata_Perturbation"] == "c03")
    assert_score(done, replicates(rest(table, out)))
    assert done.said("bad.csv"), done.warnings


def test_files_that_cannot_be_meant_are_refused(table: pd.DataFrame) -> None:
    path = write(table, "table.csv")
    Path("strange.csv").write_text("Plate_nr\nQ1\n")
    assert_refused(run(path, "--exclude-file strange.csv"), "strange.csv", "Plate_nr")
    Path("idle.csv").write_text("Metadata_Plate\nQ9\n")
    assert_refused(run(path, "--exclude-file idle.csv"), "idle.csv")
    assert_refused(run(path, "--exclude-file absent.csv"), "absent.csv")
