"""What is missing is missing: batches, sources, and parts of joined labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import (
    Score,
    assert_refused,
    assert_score,
    compound_numbers,
    make,
    pca_scaled,
    replicates,
    run,
    write,
)

MISSING = ["", " ", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>"]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(plates=4, controls=9, seed=74)


def by_group(table: pd.DataFrame, groups: Any) -> Score:
    return replicates(table, X=pca_scaled(table, groups))


# Batches and sources


@pytest.mark.parametrize("text", MISSING)
def test_a_batch_that_is_written_as_nothing_counts_as_absent(text: str, table: pd.DataFrame) -> None:
    right = by_group(table, table["Metadata_Plate"])
    for name in ("empty.csv", "empty.parquet"):
        assert_score(run(write(table.assign(Metadata_Batch=text), name), how="pca-cs"), right)


@pytest.mark.parametrize(
    "empty",
    [
        lambda n: [None] * n,
        lambda n: np.full(n, np.nan),
        lambda n: pd.array([pd.NA] * n, "Int64"),
        lambda n: pd.array([pd.NA] * n, "string"),
        lambda n: pd.Categorical([None] * n, ["week1"]),
        lambda n: np.full(n, np.datetime64("NaT", "ns")),
    ],
    ids=["null", "float", "integer", "string", "category", "date"],
)
def test_a_batch_of_nulls_of_any_type_counts_as_absent(empty: Callable[[int], Any], table: pd.DataFrame) -> None:
    right = by_group(table, table["Metadata_Plate"])
    done = run(write(table.assign(Metadata_Batch=empty(len(table))), "empty.parquet"), how="pca-cs")
    assert_score(done, right)


@pytest.mark.parametrize("how", ["tvn", "pca-cs", "center+tvn"])
def test_an_empty_batch_or_source_changes_no_normalization(how: str, table: pd.DataFrame) -> None:
    absent = table.drop(columns="Metadata_Batch")
    right = run(write(absent, "absent.parquet"), how=how).score
    for name in ("empty.parquet", "empty.csv", "empty.h5ad"):
        assert_score(run(write(absent.assign(Metadata_Batch=None), name), how=how), right)
    assert_score(run(write(absent.assign(Metadata_Source=None), "source.csv"), how=how), right)


@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
def test_plates_without_a_batch_are_each_their_own_and_named(form: str, table: pd.DataFrame) -> None:
    alone = table["Metadata_Plate"].isin(["Q2", "Q3"])
    right = by_group(table, table["Metadata_Batch"].mask(alone, table["Metadata_Plate"]))
    done = run(write(table.assign(Metadata_Batch=table["Metadata_Batch"].mask(alone)), f"some.{form}"), how="pca-cs")
    assert_score(done, right)
    assert done.said("Q2", "Q3"), done.warnings


def test_files_without_the_column_are_plates_without_a_batch(table: pd.DataFrame) -> None:
    alone = table["Metadata_Plate"] == "Q4"
    files = [write(table[~alone], "a.csv"), write(table[alone].drop(columns="Metadata_Batch"), "b.parquet")]
    done = run(files, how="pca-cs")
    assert_score(done, by_group(table, table["Metadata_Batch"].mask(alone, table["Metadata_Plate"])))
    assert done.said("Q4"), done.warnings


def test_a_plate_without_a_batch_is_none_that_has_its_name(table: pd.DataFrame) -> None:
    """A batch that is called like a plate without one is another batch."""
    named = table["Metadata_Plate"].map({"Q1": None, "Q2": "Q1", "Q3": "Q1", "Q4": "x"})
    groups = table["Metadata_Plate"].map({"Q1": "alone", "Q2": "Q1", "Q3": "Q1", "Q4": "x"})
    assert_score(run(write(table.assign(Metadata_Batch=named), "named.csv"), how="pca-cs"), by_group(table, groups))


@pytest.mark.parametrize("column", ["Metadata_Batch", "Metadata_Source"])
def test_what_some_wells_of_a_plate_lack_is_filled_with_a_note(column: str, table: pd.DataFrame) -> None:
    whole = table.assign(**{column: table["Metadata_Batch"]})
    right = run(write(whole, "whole.parquet"), how="pca-cs").score
    gaps = whole.assign(
        **{column: whole[column].mask((np.arange(len(table)) % 3 == 0) & (table["Metadata_Plate"] == "Q2"))}
    )
    for name in ("gaps.parquet", "gaps.csv"):
        done = run(write(gaps, name), how="pca-cs")
        assert_score(done, right)
        assert done.said(column), done.warnings


@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
def test_two_batches_on_one_plate_are_refused(form: str, table: pd.DataFrame) -> None:
    batches = table["Metadata_Batch"].copy()
    batches.iloc[5] = "week7"
    done = run(write(table.assign(Metadata_Batch=batches), f"two.{form}"), how="pca-cs")
    assert_refused(done, "week1", "week7", "Metadata_Batch", "row ")
    assert "row 6" in done.output or "row 1" in done.output, done.output


def test_numbers_of_a_batch_are_named_as_they_are_written(table: pd.DataFrame) -> None:
    batches = np.where(np.arange(len(table)) == 3, "007", "7")
    assert_refused(run(write(table.assign(Metadata_Batch=batches), "two.csv")), "007", "'7'", "row ")


# Perturbations


@pytest.mark.parametrize("text", MISSING)
def test_wells_without_a_perturbation_are_left_out_and_counted(text: str, table: pd.DataFrame) -> None:
    none = table["Metadata_Perturbation"].isin(["c00", "c04"])
    right = replicates(table[~none])
    done = run(write(table.assign(Metadata_Perturbation=table["Metadata_Perturbation"].mask(none, text)), "some.csv"))
    assert_score(done, right)
    assert done.dropped == {"no perturbation label": 8}


@pytest.mark.parametrize("text", ["none", "-", "na", "0", "False", "unknown", "nul", "NAN1"])
def test_other_words_are_labels(text: str, table: pd.DataFrame) -> None:
    names = table["Metadata_Perturbation"].replace("c00", text)
    done = run(write(table.assign(Metadata_Perturbation=names), "words.csv"))
    assert_score(done, replicates(table))


@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
def test_a_joined_label_is_missing_where_its_first_part_is(form: str, table: pd.DataFrame) -> None:
    untreated = table["Metadata_Perturbation"].isin(["c00", "c01"]) & (table["Metadata_pert_type"] == "trt")
    control = table["Metadata_pert_type"] == "negcon"
    parts = table.drop(columns=["Metadata_Perturbation", "Metadata_pert_type"]).assign(
        Metadata_Compound=table["Metadata_Perturbation"].mask(untreated),
        Metadata_Dose=np.where(untreated | control, 0.0, 5.0),
    )
    options = "--column perturbation=Metadata_Compound,Metadata_Dose --negcon Metadata_Compound=DMSO"
    done = run(write(parts, f"untreated.{form}"), options)
    assert_score(done, replicates(table[~untreated]))
    assert done.dropped == {"no perturbation label": 8}


def joined(table: pd.DataFrame, options: str = "", **parts: list[Any]) -> tuple[Score, Score]:
    """What columns that are joined give, in csv and in parquet."""
    how = f"--column perturbation={','.join(parts)} {options}"
    given = table.drop(columns="Metadata_Perturbation").assign(**parts)
    return run(write(given, "a.csv"), how).score, run(write(given, "a.parquet"), how).score


def test_parts_of_a_joined_label_keep_their_places(table: pd.DataFrame) -> None:
    odd = (table["Metadata_Plate"] > "Q2").tolist()
    names = table["Metadata_Perturbation"].tolist()
    right = replicates(table, [f"{name}{o}" for name, o in zip(names, odd, strict=True)])
    assert right[1] == 20
    found = joined(
        table,
        Metadata_A=names,
        Metadata_B=[None if o else "10" for o in odd],
        Metadata_C=["10" if o else None for o in odd],
    )
    for score in found:
        assert score == pytest.approx(right, abs=1e-5)


def test_a_comma_in_a_part_is_none_between_parts(table: pd.DataFrame) -> None:
    odd = (table["Metadata_Plate"] > "Q2").tolist()
    names = table["Metadata_Perturbation"].tolist()
    right = replicates(table, [f"{name}{o}" for name, o in zip(names, odd, strict=True)])
    found = joined(
        table,
        Metadata_A=[f"{name},b" if o else name for name, o in zip(names, odd, strict=True)],
        Metadata_B=["c" if o else "b,c" for o in odd],
    )
    for score in found:
        assert score == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("second", [None, "", 5.0, "5.0"])
def test_a_second_part_may_be_missing_everywhere_or_the_same(second: object, table: pd.DataFrame) -> None:
    found = joined(table, Metadata_A=table["Metadata_Perturbation"].tolist(), Metadata_B=[second] * len(table))
    for score in found:
        assert score == pytest.approx(replicates(table), abs=1e-5)


def test_a_dose_that_controls_lack_joins_all_the_same(table: pd.DataFrame) -> None:
    doses = [np.nan if i < 0 else (0.1, 10.0, 2.5)[i % 3] for i in compound_numbers(table)]
    found = joined(table, Metadata_A=table["Metadata_Perturbation"].tolist(), Metadata_B=doses)
    for score in found:
        assert score == pytest.approx(replicates(table), abs=1e-5)
