"""One column a role: two candidates are refused, and prefixes mark columns without renaming or dropping any."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import (
    Score,
    assert_refused,
    assert_score,
    command,
    features_of,
    make,
    replicates,
    run,
    write,
    write_h5ad,
)

COLUMN_OF = {
    "plate": "Metadata_Plate",
    "well": "Metadata_Well",
    "batch": "Metadata_Batch",
    "source": "Metadata_Source",
    "perturbation": "Metadata_Perturbation",
    "gene": "Metadata_Symbol",
    "target": "Metadata_Target",
    "pert_type": "Metadata_pert_type",
}


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    table = make(seed=75)
    table["Metadata_Symbol"] = table["Metadata_Perturbation"].where(table["Metadata_pert_type"] == "trt")
    return table.assign(Metadata_Source="s1", Metadata_Target=table["Metadata_Symbol"])


def beside(table: pd.DataFrame, column: str, other: str) -> pd.DataFrame:
    """Another column for the role of one, first and with other values."""
    two = table.copy()
    two.insert(0, other, np.roll(table[column], 1))
    return two


@pytest.mark.parametrize("role", COLUMN_OF)
@pytest.mark.parametrize(
    "prefixes", ["--metadata-prefix Image_", "--metadata-prefix Image_Metadata_ --metadata-prefix Metadata_"]
)
def test_two_columns_for_a_role_are_refused(role: str, prefixes: str, table: pd.DataFrame) -> None:
    column = COLUMN_OF[role]
    path = write(beside(table, column, f"Image_{column}"), "two.csv")
    assert_refused(run(path, prefixes), f"Image_{column}", f"--column {role}=")
    assert f"'{column}'" in run(path, prefixes).output or f" {column}" in run(path, prefixes).output


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_option_that_the_error_names_decides(form: str, table: pd.DataFrame, right: Score) -> None:
    two = beside(table, "Metadata_Perturbation", "Image_Metadata_Perturbation")
    path = write(two, f"two.{form}")
    prefix = "--metadata-prefix Image_Metadata_ --column perturbation="
    assert_score(run(path, prefix + "Metadata_Perturbation"), right)
    assert_score(run(path, prefix + "Image_Metadata_Perturbation"), replicates(two, two["Image_Metadata_Perturbation"]))


@pytest.mark.parametrize("role", ["plate", "well", "batch", "perturbation"])
def test_a_bare_name_in_h5ad_is_a_candidate_too(role: str, table: pd.DataFrame) -> None:
    column = COLUMN_OF[role]
    bare = column.removeprefix("Metadata_")
    path = write_h5ad(beside(table, column, bare), "two.h5ad")
    assert_refused(run(path), f"'{bare}'", column, f"--column {role}=")


def test_a_bare_name_alone_in_h5ad_is_found_and_one_of_two_is_chosen(table: pd.DataFrame, right: Score) -> None:
    bare = table.rename(columns=lambda name: name.removeprefix("Metadata_"))
    assert_score(run(write_h5ad(bare, "bare.h5ad")), right)
    two = beside(table, "Metadata_Perturbation", "Perturbation")
    path = write_h5ad(two, "two.h5ad")
    assert_score(run(path, "--column perturbation=Metadata_Perturbation"), right)
    assert_score(run(path, "--column perturbation=Perturbation"), replicates(two, two["Perturbation"]))


def test_two_prefixes_that_are_not_the_default_are_two_columns_all_the_same(table: pd.DataFrame) -> None:
    two = beside(table.rename(columns={"Metadata_Plate": "A_Plate"}), "A_Plate", "B_Plate")
    options = "--metadata-prefix A_ --metadata-prefix B_"
    assert_refused(run(write(two, "two.csv"), options), "A_Plate", "B_Plate", "--column plate=")


def test_without_the_prefix_another_column_is_none_of_the_role(table: pd.DataFrame, right: Score) -> None:
    """Text under no prefix is refused as a feature; with a feature prefix it takes no part."""
    two = beside(table, "Metadata_Perturbation", "Image_Metadata_Perturbation")
    assert_score(run(write(two, "two.csv"), "--feature-prefix f"), right)


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_a_prefix_adds_to_the_default(form: str, table: pd.DataFrame, right: Score) -> None:
    mixed = table.rename(columns={name: f"Image_{name}" for name in ("Metadata_Plate", "Metadata_Well")})
    mixed["Metadata_Number"] = np.arange(len(mixed)) * 1000.0
    mixed["Image_Metadata_Number"] = np.arange(len(mixed)) * -1000.0
    assert_score(run(write(mixed, f"mixed.{form}"), "--metadata-prefix Image_Metadata_"), right)


@pytest.mark.parametrize("prefix", ["Image_", "Image_Metadata_"])
def test_default_columns_are_found_under_a_prefix(prefix: str, table: pd.DataFrame, right: Score) -> None:
    named = table.rename(columns=lambda name: f"Image_{name}" if name.startswith("Metadata_") else name)
    assert_score(run(write(named, "named.csv"), f"--metadata-prefix {prefix}"), right)


def test_one_column_may_play_two_roles(table: pd.DataFrame, right: Score) -> None:
    path = write(table, "table.csv")
    assert_score(run(path, "--column batch=Metadata_Plate --column gene=Metadata_Perturbation"), right)


def test_a_file_under_another_prefix_and_one_under_the_default_are_one_table(table: pd.DataFrame, right: Score) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    other = table[~first].rename(columns=lambda name: f"Image_{name}" if name.startswith("Metadata_") else name)
    done = run([write(table[first], "a.csv"), write(other, "b.csv")], "--metadata-prefix Image_Metadata_")
    if done.code:
        assert_refused(done, "Image_Metadata_", "--column ")
    else:
        assert_score(done, right)


# What normalize writes


def test_normalize_keeps_every_metadata_column_under_its_own_name(table: pd.DataFrame) -> None:
    wide = table.rename(columns={"Metadata_Plate": "Image_Metadata_Plate"}).assign(
        Image_Metadata_Site="3", Metadata_Site="4", Image_Metadata_x=1.5, Metadata_x=2.5, Metadata_Metadata_x="deep"
    )
    path = write(wide, "wide.parquet")
    done = command(
        "normalize", path, "--steps", "center", "--metadata-prefix", "Image_Metadata_", "--out", "out.parquet"
    )
    assert done.code == 0, done.output
    written = pq.read_table("out.parquet").to_pandas()
    missing = set(wide.columns) - set(written.columns)
    assert not missing
    assert [name for name in written.columns if name in features_of(wide)] == features_of(wide)
    assert set(written["Image_Metadata_Site"].astype(str)) == {"3"}
    assert set(written["Metadata_Site"].astype(str)) == {"4"}
    assert set(written["Image_Metadata_x"].astype(float)) == {1.5}
    assert set(written["Metadata_x"].astype(float)) == {2.5}
    assert set(written["Metadata_Metadata_x"]) == {"deep"}


def test_what_normalize_wrote_scores_like_the_run(table: pd.DataFrame) -> None:
    wide = table.rename(columns={"Metadata_Plate": "Image_Metadata_Plate"}).assign(Image_Metadata_x=1000.0)
    path = write(wide, "wide.csv")
    right = run(path, "--metadata-prefix Image_Metadata_", how="center").score
    assert (
        command(
            "normalize", path, "--steps", "center", "--metadata-prefix", "Image_Metadata_", "--out", "n.parquet"
        ).code
        == 0
    )
    assert_score(run("n.parquet", "--metadata-prefix Image_Metadata_"), right)
    assert_score(run("n.parquet"), right)


def test_normalize_keeps_columns_that_have_a_role_under_their_own_names(table: pd.DataFrame) -> None:
    free = table.rename(columns={"Metadata_Plate": "plate", "Metadata_Perturbation": "drug"})
    options = ["--column", "plate=plate", "--column", "perturbation=drug"]
    path = write(free, "free.csv")
    assert command("normalize", path, "--steps", "center", *options, "--out", "n.parquet").code == 0
    written = pq.read_table("n.parquet").column_names
    assert {"plate", "drug"} <= set(written), written
    assert_score(run("n.parquet"), run(path, " ".join(options), how="center").score)
