"""What is missing in every format and role: texts that say so, and plates and batches that are joined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import (
    CONTROL,
    assert_refused,
    assert_score,
    command,
    compound_numbers,
    make,
    pca_scaled,
    replicates,
    run,
    targets_score,
    write,
)

MISSING = ["", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>"]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(controls=9, seed=172)


def words(n: int) -> pd.Series:
    """All the words for what is missing, in turn."""
    return pd.Series([MISSING[i % len(MISSING)] for i in range(n)], dtype=object)


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_a_text_that_says_missing_is_missing_in_every_format(form: str, table: pd.DataFrame) -> None:
    """Three compounds have 12 wells, and these one word or another."""
    none = table["Metadata_Perturbation"].isin(["c00", "c04", "c07"])
    names = table["Metadata_Perturbation"].copy()
    names[none] = words(12).to_numpy()
    done = run(write(table.assign(Metadata_Perturbation=names), f"s.{form}"))
    assert_score(done, replicates(table[~none]))


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_wells_without_a_perturbation_are_counted_in_the_result(form: str, table: pd.DataFrame) -> None:
    none = table["Metadata_Perturbation"].isin(["c00", "c04"])
    done = run(write(table.assign(Metadata_Perturbation=table["Metadata_Perturbation"].mask(none)), f"some.{form}"))
    assert done.code == 0, done.output
    assert 8 in done.dropped.values() or done.said("8 "), (done.dropped, done.warnings)


def test_a_target_that_says_missing_is_no_target() -> None:
    table = make(compounds=16, plates=2, controls=3, seed=173)
    numbers = compound_numbers(table)
    targets = pd.Series([None if i < 0 or i > 7 else f"T{i % 4}" for i in numbers], dtype=object)
    table["Metadata_Target"] = targets.fillna(words(len(table)))
    right = targets_score(table, {f"c{i:02d}": [f"T{i % 4}"] for i in range(8)})
    for name in ("targets.csv", "targets.parquet"):
        assert_score(run(write(table, name), task="target-matching"), right, "compounds")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_second_part_that_says_missing_is_missing(form: str, table: pd.DataFrame) -> None:
    """A gap and each word for one are one and the same label, in two files."""
    first = table["Metadata_Plate"] <= "Q2"
    a = write(table.assign(Metadata_Dose=words(len(table)))[first], f"a.{form}")
    b = write(table[~first].assign(Metadata_Dose=None), "b.parquet")
    assert_score(run([a, b], "--column perturbation=Metadata_Perturbation,Metadata_Dose"), replicates(table))


def test_a_file_without_the_second_part_has_it_missing(table: pd.DataFrame) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    a = write(table[first].assign(Metadata_Dose=None), "a.parquet")
    done = run([a, write(table[~first], "b.csv")], "--column perturbation=Metadata_Perturbation,Metadata_Dose")
    if done.code:
        assert_refused(done, "b.csv", "Metadata_Dose")
    else:
        assert_score(done, replicates(table))


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_plates_and_batches_may_be_joined_too(form: str, table: pd.DataFrame) -> None:
    right = replicates(table, X=pca_scaled(table, table["Metadata_Batch"]))
    number = table["Metadata_Plate"].str[1:].astype(int)
    parts = table.drop(columns=["Metadata_Plate", "Metadata_Batch"]).assign(
        Metadata_Run=np.where(number > 2, "7", "07"),
        Metadata_Rep=number.map({1: "1", 2: None, 3: "1", 4: None}),
        Metadata_Lot=np.where(number > 2, "x", "y"),
        Metadata_Sub=None,
    )
    options = "--column plate=Metadata_Run,Metadata_Rep --column batch=Metadata_Lot,Metadata_Sub"
    done = run(write(parts, f"parts.{form}"), options, how="pca-cs")
    assert_score(done, right)
    assert done.result["screen"]["n_plates"] == 4


def test_a_joined_plate_without_its_first_part_is_missing(table: pd.DataFrame) -> None:
    parts = table.assign(Metadata_Rep="1")
    parts.loc[4, "Metadata_Plate"] = None
    done = run(write(parts, "parts.csv"), "--column plate=Metadata_Plate,Metadata_Rep")
    assert_refused(done, "row 5", "Metadata_Plate")


def test_a_joined_batch_without_its_first_part_is_absent(table: pd.DataFrame) -> None:
    """All plates have a second part and no first: each is its own batch."""
    parts = table.assign(Metadata_Lot=None, Metadata_Sub="x")
    done = run(write(parts, "parts.parquet"), "--column batch=Metadata_Lot,Metadata_Sub", how="pca-cs")
    assert_score(done, replicates(table, X=pca_scaled(table, table["Metadata_Plate"])))


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_three_parts_with_a_gap_in_the_middle_or_the_end_are_two_labels(form: str, table: pd.DataFrame) -> None:
    odd = (table["Metadata_Plate"] > "Q2").to_numpy()
    ten = pd.Series("10", index=table.index, dtype=object)
    parts = table.assign(Metadata_B=ten.mask(odd), Metadata_C=ten.where(odd))
    right = replicates(table, table["Metadata_Perturbation"] + odd.astype(str))
    options = "--column perturbation=Metadata_Perturbation,Metadata_B,Metadata_C"
    assert_score(run(write(parts, f"parts.{form}"), options), right)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_empty_batch_stays_absent_after_normalize(form: str, table: pd.DataFrame) -> None:
    path = write(table.assign(Metadata_Batch=None), f"empty.{form}")
    done = command("normalize", path, "--steps", "pca-cs", "--out", "out.parquet")
    assert done.code == 0, done.output
    assert_score(run("out.parquet"), replicates(table, X=pca_scaled(table, table["Metadata_Plate"])))
    assert pq.read_schema("out.parquet").names.count("Metadata_Batch") == 1


def test_one_source_that_some_plates_lack_is_noted(table: pd.DataFrame) -> None:
    sources = table["Metadata_Plate"].map({"Q1": "s1", "Q2": "s1", "Q3": None, "Q4": "s2"})
    done = run(write(table.assign(Metadata_Source=sources), "sources.csv"))
    assert_score(done, replicates(table))
    assert done.said("Q3"), done.warnings


def test_two_batches_on_one_plate_in_two_files_are_refused_with_the_file(table: pd.DataFrame) -> None:
    even = np.arange(len(table)) % 2 == 0
    a = write(table[even], "a.csv")
    b = write(table[~even].assign(Metadata_Batch=table["Metadata_Batch"].replace("week1", "week9")), "b.parquet")
    assert_refused(run([a, b]), "week1", "week9", "row ", "Metadata_Batch")


def test_a_number_and_its_text_are_no_two_batches_of_a_plate(table: pd.DataFrame) -> None:
    even = np.arange(len(table)) % 2 == 0
    a = write(table[even].assign(Metadata_Batch=7), "a.parquet")
    b = write(table[~even].assign(Metadata_Batch="007"), "b.csv")
    assert_score(run([a, b]), replicates(table))


def test_controls_without_any_name_are_controls(table: pd.DataFrame) -> None:
    """Their label is missing and their type is not."""
    bare = table.assign(Metadata_Perturbation=table["Metadata_Perturbation"].replace(CONTROL, "NA"))
    right = replicates(table, X=pca_scaled(table, table["Metadata_Batch"]))
    for name in ("bare.csv", "bare.parquet", "bare.h5ad"):
        assert_score(run(write(bare, name), how="pca-cs"), right)
