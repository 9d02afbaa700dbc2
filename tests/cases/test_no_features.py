"""Numbers that are no features: names of other tools, in several files, and how each is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import Score, assert_score, features_of, make, replicates, run, write

NAMES = [
    "__index_level_0__",
    "Unnamed: 0.1",
    "Cells_ObjectNumber",
    "Nuclei_Number_Object_Number",
    "Cytoplasm_Parent_Nuclei",
    "Location_X",
    "Nuclei_Location_MaxIntensity_X_DNA",
    "Cells_AreaShape_Center_Z",
    "Count_Nuclei",
    "Cell_Count",
    "Time",
    "Dose",
    "well",
    "source",
    "Concentration",
]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=181)


@pytest.fixture(scope="module", name="numbers")
def far_off(table: pd.DataFrame) -> np.ndarray:
    return np.round(np.random.default_rng(182).uniform(-500, 500, len(table)))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_all_of_them_are_left_out_and_counted(
    form: str, table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    done = run(write(table.assign(**{name: numbers + i for i, name in enumerate(NAMES)}), f"table.{form}"))
    assert_score(done, right)
    assert done.result["model"]["n_features"] == 8


@pytest.mark.parametrize("name", NAMES[::2])
def test_it_is_left_out_named_and_kept_where_asked_for(
    name: str, table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    path = write(table.assign(**{name: numbers}), "table.csv")
    done = run(path)
    assert_score(done, right)
    assert done.said(name), done.warnings
    kept = run(path, f"--keep-feature '{name}'")
    assert_score(kept, replicates(table, X=np.column_stack([table[features_of(table)], numbers])))


@pytest.mark.parametrize("dtype", ["float32", "Int64"])
def test_its_type_makes_no_difference(dtype: str, table: pd.DataFrame, right: Score, numbers: np.ndarray) -> None:
    column = pd.Series(np.abs(numbers)).astype("int64").astype(dtype)  # type: ignore[call-overload]
    done = run(write(table.assign(ImageNumber=column), "table.parquet"))
    assert_score(done, right)
    assert done.said("ImageNumber"), done.warnings


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_gaps_in_what_is_left_out_are_no_fault(
    form: str, table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    gaps = pd.Series(numbers).mask(np.arange(len(table)) % 5 == 0)
    assert_score(run(write(table.assign(Concentration=gaps), f"gaps.{form}")), right)


def test_it_is_left_out_of_each_of_several_files(table: pd.DataFrame, right: Score, numbers: np.ndarray) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    wide = table.assign(ImageNumber=numbers, index=np.arange(len(table)))
    files = [write(wide[first], "a.csv"), write(wide[~first], "b.parquet")]
    done = run(files)
    assert_score(done, right)
    assert done.said("ImageNumber"), done.warnings
    both = np.column_stack([table[features_of(table)], numbers, np.arange(len(table))])
    assert_score(run(files, "--keep-feature ImageNumber --keep-feature index"), replicates(table, X=both))


@pytest.mark.parametrize("name", ["f1 ", " f1", "f 1"])
def test_a_column_that_is_another_but_for_blanks_is_left_out(name: str, table: pd.DataFrame, right: Score) -> None:
    done = run(write(table.assign(**{name: table["f1"]}), "twice.csv"))
    assert_score(done, right)
    assert done.said(name.strip()), done.warnings


def test_a_column_with_the_name_of_metadata_is_left_out(table: pd.DataFrame, right: Score) -> None:
    wide = table.assign(Metadata_Passage="5", **{" Metadata_Passage ": np.arange(len(table)) * 40})
    for name in ("twice.csv", "twice.parquet"):
        assert_score(run(write(wide, name)), right)


def test_a_prefix_of_features_that_metadata_start_with_too_leaves_roles_be(table: pd.DataFrame) -> None:
    wide = table.rename(columns={name: f"Meta{name}" for name in features_of(table)})
    done = run(write(wide, "table.csv"), "--feature-prefix Meta")
    assert_score(done, replicates(table))
    assert done.result["model"]["n_features"] == 8


@pytest.mark.parametrize(
    "name", ["timecourse_pc1", "Indexing", "plated", "doses_pc", "Cells_Texture_Time_DNA", "fcount"]
)
def test_a_name_that_only_starts_like_one_stays_a_feature(name: str, table: pd.DataFrame, numbers: np.ndarray) -> None:
    """Or it is named with the option that keeps it."""
    path = write(table.assign(**{name: numbers}), "table.csv")
    done = run(path)
    with_it = replicates(table, X=np.column_stack([table[features_of(table)], numbers]))
    if done.said(name, "--keep-feature"):
        done = run(path, f"--keep-feature {name}")
    assert_score(done, with_it)
