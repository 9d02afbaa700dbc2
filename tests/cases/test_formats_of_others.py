"""Files as other tools leave them: null keys, sparse matrices, one separator inside another, and what is refused."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from tests.cases.screen import (
    Run,
    Score,
    assert_refused,
    assert_score,
    features_of,
    make,
    pca_scaled,
    replicates,
    run,
    write,
)


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(controls=9, seed=185)


def one_sentence(done: Run, name: str) -> None:
    """One line that names the file and says what to do."""
    assert_refused(done, name)
    assert done.output.count("\n") == 1, done.output


# Partitioned folders


def test_a_key_that_is_null_is_missing(table: pd.DataFrame) -> None:
    """pandas writes it as ``__HIVE_DEFAULT_PARTITION__``."""
    alone = table["Metadata_Plate"].isin(["Q3", "Q4"])
    table.assign(Metadata_Batch=table["Metadata_Batch"].mask(alone)).to_parquet(
        "hive", partition_cols=["Metadata_Batch", "Metadata_Plate"], index=False
    )
    done = run("hive", how="pca-cs")
    groups = table["Metadata_Batch"].mask(alone, table["Metadata_Plate"])
    assert_score(done, replicates(table, X=pca_scaled(table, groups)))
    assert done.said("Q3", "Q4"), done.warnings


def test_keys_that_are_numbers_are_texts_of_paths(table: pd.DataFrame, right: Score) -> None:
    table.assign(Metadata_Plate=table["Metadata_Plate"].str[1:].astype(int)).to_parquet(
        "hive", partition_cols=["Metadata_Plate"], index=False
    )
    done = run("hive", "--exclude Metadata_Plate=3")
    assert_score(done, replicates(table[table["Metadata_Plate"] != "Q3"]))
    assert_score(run("hive"), right)


def test_one_part_of_a_partitioned_folder_has_its_keys(table: pd.DataFrame) -> None:
    table.to_parquet("hive", partition_cols=["Metadata_Batch", "Metadata_Plate"], index=False)
    assert_score(run("hive/Metadata_Batch=week1"), replicates(table[table["Metadata_Batch"] == "week1"]))


def test_a_partitioned_folder_of_csv_has_keys_too(table: pd.DataFrame, right: Score) -> None:
    for plate, rows in table.groupby("Metadata_Plate"):
        write(rows.drop(columns="Metadata_Plate"), f"hive/Metadata_Plate={plate}/rows.csv")
    for given in ("hive", "hive/**/*.csv"):
        assert_score(run(given), right)


def test_a_key_without_a_prefix_is_metadata_that_a_role_may_name(table: pd.DataFrame, right: Score) -> None:
    keyed = table.rename(columns={"Metadata_Plate": "plate"}).assign(plate=table["Metadata_Plate"].str[1:])
    keyed.to_parquet("hive", partition_cols=["plate"], index=False)
    assert_score(run("hive", "--column plate=plate"), right)


# AnnData


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("where", ["X", "layer", "obsm"])
def test_sparse_matrices_are_features(where: str, kind: str, table: pd.DataFrame, right: Score) -> None:
    values = table[features_of(table)].to_numpy()
    matrix = scipy.sparse.csr_matrix(values) if kind == "csr" else scipy.sparse.csc_matrix(values)
    obs = table.drop(columns=features_of(table)).set_axis([str(i) for i in range(len(table))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.AnnData(matrix if where == "X" else np.ones_like(values), obs)
        if where == "layer":
            data.layers["raw"] = matrix
        if where == "obsm":
            data.obsm["X_emb"] = matrix
        data.write_h5ad("a.h5ad")
    options = {"X": "", "layer": "--layer raw", "obsm": "--obsm X_emb"}
    assert_score(run("a.h5ad", options[where]), right)


def test_a_layer_and_an_obsm_at_once_are_refused(table: pd.DataFrame) -> None:
    obs = table.drop(columns=features_of(table)).set_axis([str(i) for i in range(len(table))])
    values = table[features_of(table)].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(values, obs, layers={"raw": values}, obsm={"X_emb": values}).write_h5ad("a.h5ad")
    assert_refused(run("a.h5ad", "--layer raw --obsm X_emb"), "--layer", "--obsm")


# Lists


def test_two_columns_of_lists_are_refused_with_both(table: pd.DataFrame) -> None:
    lists = pd.Series(list(table[features_of(table)].to_numpy()))
    rows = table.drop(columns=features_of(table)).assign(left=lists, right=lists)
    assert_refused(run(write(rows, "two.parquet")), "left", "right")


def test_a_printed_list_in_csv_is_refused_with_its_column(table: pd.DataFrame) -> None:
    printed = [str(row) for row in table[features_of(table)].to_numpy().tolist()]
    done = run(write(table.drop(columns=features_of(table)).assign(embedding=printed), "printed.csv"))
    if done.code:
        one_sentence(done, "printed.csv")
        assert "embedding" in done.output
    else:
        assert_score(done, replicates(table))


def test_a_list_of_metadata_is_no_embedding(table: pd.DataFrame, right: Score) -> None:
    tags = pd.Series([["a", "b"] if i % 2 else [] for i in range(len(table))])
    assert_score(run(write(table.assign(Metadata_Tags=tags), "tags.parquet")), right)


# Separated text


def semicolons(table: pd.DataFrame, comma: bool = True) -> str:
    numbers = {
        name: [f"{value:.3f}".replace(".", "," if comma else ".") for value in table[name]]
        for name in features_of(table)
    }
    return table.assign(**numbers).to_csv(index=False, sep=";")


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("a.csv", "utf-16"), ("a.csv.gz", "utf-8"), ("a.csv.gz", "utf-16"), ("a.tsv", "utf-8-sig")],
)
def test_semicolons_and_decimal_commas_are_found_in_any_wrapping(
    name: str, encoding: str, table: pd.DataFrame, right: Score
) -> None:
    content = semicolons(table).encode(encoding)
    Path(name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    done = run(name)
    assert_score(done, right)
    assert done.said("decimal comma"), done.warnings


def test_labels_with_commas_stay_whole_between_semicolons(table: pd.DataFrame, right: Score) -> None:
    named = table.assign(Metadata_Perturbation=table["Metadata_Perturbation"].map(lambda name: f"{name},10,5 uM, x"))
    for comma in (True, False):
        Path("named.csv").write_text(semicolons(named, comma))
        assert_score(run("named.csv"), right)


def test_decimal_commas_may_have_exponents_and_whole_numbers_and_gaps(table: pd.DataFrame) -> None:
    values = table[features_of(table)].copy()
    values.iloc[:, 0] = values.iloc[:, 0].round()
    values.iloc[:, 1] *= 1e-5
    numbers = {name: [f"{value:.4e}".replace(".", ",") for value in values[name]] for name in features_of(table)}
    numbers["f0"] = [str(int(value)) for value in values["f0"]]
    gaps = table.assign(**numbers)
    gaps.loc[3, "f2"] = ""
    gaps.to_csv("gaps.csv", index=False, sep=";")
    left = table.drop(index=3).reset_index(drop=True)
    assert_score(run("gaps.csv", "--nan drop-wells"), replicates(left, X=values.drop(index=3).to_numpy()))


def test_files_of_a_folder_may_be_separated_in_two_ways(table: pd.DataFrame, right: Score) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    write(table[first], "mixed/a.csv")
    Path("mixed/b.csv").write_text(semicolons(table[~first]))
    assert_score(run("mixed"), right)


def test_thousands_are_no_decimal_commas(table: pd.DataFrame) -> None:
    """``1,234.5`` is no number that one reads by guessing: a sentence, or its value."""
    odd = table.assign(f0=[f"{1000 + abs(value):,.3f}" for value in table["f0"]])
    done = run(write(odd, "thousands.csv"))
    if done.code:
        assert_refused(done, "thousands.csv", "f0")
    else:
        assert_score(done, replicates(table.assign(f0=1000 + table["f0"].abs())))


def test_bytes_of_an_old_code_page_are_read_or_named(table: pd.DataFrame, right: Score) -> None:
    named = table.assign(Metadata_Perturbation=table["Metadata_Perturbation"] + " \u00b5M")
    Path("old.csv").write_bytes(named.to_csv(index=False).encode("cp1252"))
    done = run("old.csv")
    if done.code:
        one_sentence(done, "old.csv")
    else:
        assert_score(done, right)


@pytest.mark.parametrize("name", ["ragged.csv", "ragged.tsv"])
def test_a_row_with_too_many_cells_is_named(name: str, table: pd.DataFrame) -> None:
    sign = "\t" if name.endswith("tsv") else ","
    lines = table.to_csv(index=False, sep=sign).splitlines()
    lines[4] += f"{sign}1.5"
    Path(name).write_text("\n".join(lines) + "\n")
    one_sentence(run(name), name)


def test_a_name_that_two_columns_have_is_named(table: pd.DataFrame) -> None:
    header, rest = table.to_csv(index=False).split("\n", 1)
    Path("twice.csv").write_text(header.replace("f2", "f1") + "\n" + rest)
    assert_refused(run("twice.csv"), "f1")


# Refused


@pytest.mark.parametrize(
    "name",
    ["a.gct", "a.gct.gz", "a.npy", "a.npz", "a.sqlite", "a.db", "a.feather", "a.rds", "a.xls", "a.zarr", "a.mat"],
)
def test_other_formats_are_refused_in_one_sentence(name: str) -> None:
    Path(name).write_bytes(b"SQLite format 3\0" if name.endswith(("sqlite", "db")) else b"\x93NUMPY\x01")
    done = run(name)
    one_sentence(done, name)
    assert "parquet" in done.output or "csv" in done.output, done.output


def test_a_folder_with_nothing_but_other_formats_is_refused(table: pd.DataFrame) -> None:
    Path("folder").mkdir()
    np.save("folder/a.npy", table[features_of(table)].to_numpy())
    one_sentence(run("folder"), "folder")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".h5ad", ".tsv.gz"])
def test_an_empty_file_and_one_of_another_format_are_refused(suffix: str, table: pd.DataFrame) -> None:
    Path(f"empty{suffix}").write_bytes(b"")
    one_sentence(run(f"empty{suffix}"), f"empty{suffix}")
    pq.write_table(pq.read_table(write(table, "whole.parquet")), f"other{suffix}")
    if suffix != ".parquet":
        one_sentence(run(f"other{suffix}"), f"other{suffix}")
