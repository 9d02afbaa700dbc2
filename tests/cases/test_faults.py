"""All faults of a file at once, and a way out of missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import Score, assert_refused, assert_score, command, features_of, make, replicates, run, write


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=88)


# Several faults


def test_several_faults_of_one_file_are_named_in_one_run(table: pd.DataFrame) -> None:
    wrong = table.copy()
    wrong.loc[2, "Metadata_Well"] = "nowhere"
    wrong.loc[8, "Metadata_Batch"] = "week7"
    wrong.loc[11, "f3"] = np.nan
    wrong["Metadata_Symbol"] = wrong["Metadata_Perturbation"]
    wrong.loc[wrong["Metadata_Perturbation"].eq("c03") & wrong["Metadata_Plate"].eq("Q2"), "Metadata_Symbol"] = "KRAS"
    for form in ("csv", "parquet"):
        done = run(write(wrong, f"wrong.{form}"))
        assert_refused(done, "nowhere", "week7", "f3", "KRAS")
        assert done.output.count("\n") >= 4, done.output


def test_a_plate_that_is_missing_and_a_well_that_is_twice_are_named_together(table: pd.DataFrame) -> None:
    wrong = table.copy()
    wrong.loc[1, "Metadata_Plate"] = None
    wrong.loc[20, "Metadata_Well"] = wrong.loc[21, "Metadata_Well"]
    wrong.loc[30, "Metadata_Well"] = "Z99"
    assert_refused(run(write(wrong, "wrong.csv")), "Metadata_Plate", "row 2", "row 22", "Z99")


def test_roles_and_conditions_that_name_nothing_are_named_together(table: pd.DataFrame) -> None:
    options = "--column gene=Metadata_Gone --column target=Metadata_Lost --exclude Metadata_Perturbation=absent"
    assert_refused(run(write(table, "table.csv"), options), "Metadata_Gone", "Metadata_Lost", "absent")


def test_faults_of_several_files_are_named_up_to_ten(table: pd.DataFrame) -> None:
    """Fourteen files without numbers in a feature."""
    rows = table[table["Metadata_Plate"] == "Q1"]
    for i in range(14):
        write(rows.assign(Metadata_Plate=f"P{i:02d}", f1=f"word{i:02d}"), f"many/{i:02d}.csv")
    done = run("many")
    assert_refused(done, "word00", "word01", "word09")
    assert "word12" not in done.output
    assert done.output.count("\n") <= 11, done.output


def test_columns_are_named_as_the_file_has_them(table: pd.DataFrame) -> None:
    named = table.rename(columns=lambda name: f"Image_{name}" if name.startswith("Metadata_") else name)
    named.loc[8, "Image_Metadata_Batch"] = "week7"
    named.loc[1, "Image_Metadata_Plate"] = None
    done = run(write(named, "named.csv"), "--metadata-prefix Image_Metadata_")
    assert_refused(done, "Image_Metadata_Plate", "Image_Metadata_Batch", "week7")
    free = table.rename(columns={"Metadata_Batch": "lot"})
    free.loc[8, "lot"] = "week7"
    assert_refused(run(write(free, "free.csv"), "--column batch=lot"), "lot", "week7", "week1")


# Missing values


def circle(table: pd.DataFrame) -> tuple[pd.DataFrame, Score]:
    """A well without any feature, and a feature without any value."""
    gaps = table.copy()
    gaps.loc[5, features_of(table)] = np.nan
    gaps["f3"] = np.nan
    left = table.drop(columns="f3").drop(index=5).reset_index(drop=True)
    return gaps, replicates(left)


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_drop_takes_the_well_and_the_feature(form: str, table: pd.DataFrame) -> None:
    gaps, right = circle(table)
    done = run(write(gaps, f"circle.{form}"), "--nan drop")
    assert_score(done, right)
    assert done.result["model"]["n_features"] == 7
    assert sum(done.dropped.values()) == 1, done.dropped
    assert done.said("1 ", "f3") or done.said("1 feature"), done.warnings


@pytest.mark.parametrize("policy", ["drop-wells", "drop-features", "error"])
def test_messages_show_the_way_out_and_not_each_other(policy: str, table: pd.DataFrame) -> None:
    gaps, _ = circle(table)
    done = run(write(gaps, "circle.parquet"), f"--nan {policy}")
    assert_refused(done, "--nan drop")
    ways = done.output.replace("--nan drop-wells", "").replace("--nan drop-features", "")
    assert "--nan drop" in ways, done.output


def test_drop_takes_what_loses_least(table: pd.DataFrame) -> None:
    names = features_of(table)
    one_feature = table.copy()
    one_feature.loc[::2, "f2"] = np.nan
    done = run(write(one_feature, "feature.csv"), "--nan drop")
    assert_score(done, replicates(table.drop(columns="f2")))
    assert done.result["screen"]["n_wells"] == len(table)
    one_well = table.copy()
    one_well.loc[7, names[:5]] = np.nan
    done = run(write(one_well, "well.csv"), "--nan drop")
    assert_score(done, replicates(table.drop(index=7).reset_index(drop=True)))
    assert done.result["model"]["n_features"] == len(names)


def test_drop_takes_infinities_and_numbers_too_large_as_well(table: pd.DataFrame) -> None:
    large = table.copy()
    large.loc[3, ["f0", "f1"]] = [np.inf, -1e300]
    done = run(write(large, "large.parquet"), "--nan drop")
    assert_score(done, replicates(table.drop(index=3).reset_index(drop=True)))


def test_drop_of_nothing_is_nothing(table: pd.DataFrame) -> None:
    done = run(write(table, "whole.csv"), "--nan drop")
    assert_score(done, replicates(table))
    assert not any(done.dropped.values())


def test_a_table_without_any_value_has_no_way_out(table: pd.DataFrame) -> None:
    empty = table.assign(**dict.fromkeys(features_of(table), np.nan))
    done = run(write(empty, "empty.parquet"), "--nan drop")
    assert_refused(done, "empty.parquet")


def test_normalize_knows_the_policy_too(table: pd.DataFrame) -> None:
    gaps, right = circle(table)
    path = write(gaps, "circle.parquet")
    done = command("normalize", path, "--steps", "none", "--nan", "drop", "--out", "out.parquet")
    assert done.code == 0, done.output
    assert_score(run("out.parquet"), right)
