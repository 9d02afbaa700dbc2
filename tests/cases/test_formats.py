"""Files as the field's tools write them, and those that are refused in one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import (
    Score,
    assert_refused,
    assert_score,
    features_of,
    make,
    one_a_plate,
    replicates,
    run,
    write,
)


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=85)


# One column of lists


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.list_(pa.float32()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 8),
        pa.list_(pa.float16()),
    ],
    ids=str,
)
def test_one_column_of_lists_is_the_embedding(kind: pa.DataType, table: pd.DataFrame) -> None:
    values = table[features_of(table)].to_numpy()
    metadata = pa.Table.from_pandas(table.drop(columns=features_of(table)), preserve_index=False)
    if kind.value_type == pa.float16():
        values = values.astype(np.float16)
        cells = pa.array([*values], kind)
    else:
        cells = pa.array(values.tolist(), kind)
    pq.write_table(metadata.append_column("embedding", cells), "lists.parquet")
    done = run("lists.parquet")
    assert_score(done, replicates(table, X=values.astype(np.float64)))
    assert done.result["model"]["n_features"] == 8


def test_lists_of_different_lengths_are_refused_with_a_row(table: pd.DataFrame) -> None:
    cells = table[features_of(table)].to_numpy().tolist()
    cells[4] = cells[4][:-1]
    rows = table.drop(columns=features_of(table)).assign(embedding=pd.Series(cells))
    assert_refused(run(write(rows, "lists.parquet")), "embedding", "row 5")


def test_a_list_that_is_missing_is_named_with_its_row(table: pd.DataFrame) -> None:
    cells = pd.Series(table[features_of(table)].to_numpy().tolist(), dtype=object)
    cells[4] = None
    path = write(table.drop(columns=features_of(table)).assign(embedding=cells), "lists.parquet")
    assert_refused(run(path), "row 5", "embedding")


def test_lists_in_a_folder_of_files_are_one_embedding(table: pd.DataFrame, right: Score) -> None:
    lists = table.drop(columns=features_of(table)).assign(z=pd.Series(table[features_of(table)].to_numpy().tolist()))
    assert_score(run(one_a_plate(lists, "lists", "pandas")), right)


# Partitioned folders


@pytest.mark.parametrize("given", ["hive", "hive/**/*.parquet", "hive/*/*.parquet", "hive/"])
def test_the_keys_of_a_partitioned_folder_are_metadata(given: str, table: pd.DataFrame, right: Score) -> None:
    table.to_parquet("hive", partition_cols=["Metadata_Plate"], index=False)
    assert_score(run(given), right)


def test_several_keys_are_as_many_columns_of_text(table: pd.DataFrame, right: Score) -> None:
    names = {"Q1": "012", "Q2": "12", "Q3": "012", "Q4": "12"}
    keyed = table.assign(
        Metadata_Plate=table["Metadata_Plate"].map(names),
        Metadata_Source=np.where(table["Metadata_Plate"] > "Q2", "1E1", "10"),
    )
    keyed.to_parquet("hive", partition_cols=["Metadata_Source", "Metadata_Plate"], index=False)
    assert_score(run("hive"), right)


@pytest.mark.parametrize("name", ["12:30", "a/b", "a b", "100%", "\u00b5", "x=y"])
def test_keys_are_read_back_from_what_paths_make_of_them(name: str, table: pd.DataFrame, right: Score) -> None:
    keyed = table.assign(Metadata_Plate=table["Metadata_Plate"].replace("Q2", name))
    keyed.to_parquet("hive", partition_cols=["Metadata_Plate"], index=False)
    assert_score(run("hive"), right)
    assert name in set(pd.read_parquet(next(Path().glob("results*/*/*/*/*.items.parquet")))["plate"])


def test_a_perturbation_may_be_a_key(table: pd.DataFrame, right: Score) -> None:
    table.to_parquet("hive", partition_cols=["Metadata_Perturbation"], index=False)
    assert_score(run("hive"), right)


# AnnData


def stored(table: pd.DataFrame, name: str = "a.h5ad", **where: dict[str, np.ndarray]) -> str:
    values = table[features_of(table)].to_numpy()
    obs = table.drop(columns=features_of(table)).set_axis([str(i) for i in range(len(table))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.AnnData(np.roll(values, 7, axis=0) if "layers" in where else None, obs)
        for kind, entries in where.items():
            for key, entry in entries.items():
                getattr(data, kind)[key] = entry
        data.write_h5ad(name)
    return name


def test_the_only_obsm_without_x_is_the_embedding(table: pd.DataFrame, right: Score) -> None:
    path = stored(table, obsm={"X_emb": table[features_of(table)].to_numpy()})
    assert_score(run(path), right)
    assert_score(run(path, "--obsm X_emb"), right)


def test_one_of_several_obsm_has_to_be_named(table: pd.DataFrame, right: Score) -> None:
    values = table[features_of(table)].to_numpy()
    path = stored(table, obsm={"X_emb": values, "X_pca": values[::-1].copy()})
    assert_refused(run(path), "--obsm", "X_emb", "X_pca")
    assert_score(run(path, "--obsm X_emb"), right)
    assert_score(run(path, "--obsm X_pca"), replicates(table, X=values[::-1]))
    assert_refused(run(path, "--obsm X_umap"), "X_umap", "X_pca")


def test_a_layer_stands_in_place_of_x(table: pd.DataFrame, right: Score) -> None:
    values = table[features_of(table)].to_numpy()
    path = stored(table, layers={"raw": values})
    assert_score(run(path, "--layer raw"), right)
    assert_score(run(path), replicates(table, X=np.roll(values, 7, axis=0)))
    assert_refused(run(path, "--layer row"), "row", "raw")


def test_layers_and_obsm_are_of_h5ad(table: pd.DataFrame) -> None:
    path = write(table, "table.csv")
    assert_refused(run(path, "--layer raw"), "--layer")
    assert_refused(run(path, "--obsm X_emb"), "--obsm")


def test_an_obsm_may_be_a_data_frame(table: pd.DataFrame, right: Score) -> None:
    frame = table[features_of(table)].set_axis([str(i) for i in range(len(table))])
    obs = table.drop(columns=features_of(table)).set_axis(frame.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(None, obs, obsm={"X_emb": frame}).write_h5ad("a.h5ad")
    assert_score(run("a.h5ad", "--obsm X_emb"), right)


# Separated text


def csv_text(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


@pytest.mark.parametrize(
    ("name", "signs", "said"),
    [
        ("semicolon.csv", (";", "."), "semicolon"),
        ("comma.csv", (";", ","), "decimal comma"),
        ("tab.csv", ("\t", "."), "tab"),
        ("tab_comma.csv", ("\t", ","), "decimal comma"),
        ("tab_comma.tsv", ("\t", ","), "decimal comma"),
        ("commas.tsv", (",", "."), "comma"),
        ("table.tsv", ("\t", "."), ""),
    ],
)
def test_signs_of_text_are_found_out_and_said(
    name: str, signs: tuple[str, str], said: str, table: pd.DataFrame, right: Score
) -> None:
    text = csv_text(table).replace(",", "\0").replace(".", signs[1]).replace("\0", signs[0])
    Path(name).write_text(text)
    done = run(name)
    assert_score(done, right)
    assert done.said(said) if said else not done.said("separated"), done.warnings


def test_labels_keep_their_points_and_commas_beside_decimal_commas(table: pd.DataFrame) -> None:
    """A decimal comma is of numbers: 1,5 and 1.5 are two labels."""
    odd = table["Metadata_Plate"] > "Q2"
    dosed = table.assign(Metadata_Dose=np.where(odd, "1,5", "1.5"))
    numbers = {name: dosed[name].map(lambda value: str(value).replace(".", ",")) for name in features_of(table)}
    dosed.assign(**numbers).to_csv("dosed.csv", sep=";", index=False)
    done = run("dosed.csv", "--column perturbation=Metadata_Perturbation,Metadata_Dose")
    assert_score(done, replicates(table, table["Metadata_Perturbation"] + odd.astype(str)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("name", ["text.csv", "text.tsv"])
def test_text_in_other_encodings_is_read(encoding: str, name: str, table: pd.DataFrame, right: Score) -> None:
    text = csv_text(table.assign(Metadata_Note="\u00b5M")).replace(",", "\t" if name.endswith("tsv") else ",")
    mark = "\ufeff" if encoding.endswith("e") else ""
    Path(name).write_bytes((mark + text).encode(encoding))
    done = run(name)
    assert_score(done, right)
    if "16" in encoding:
        assert done.said("UTF-16"), done.warnings


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz"])
def test_text_is_read_compressed_or_not_with_quotes_and_breaks(name: str, table: pd.DataFrame, right: Score) -> None:
    other = table.assign(Metadata_Note=[f'a "b", c\n{i}' for i in range(len(table))])
    other["Metadata_Perturbation"] = other["Metadata_Perturbation"].replace("c03", 'c,"3"')
    done = run(write(other, name))
    assert_score(done, right)
    assert not done.said("separated"), done.warnings


def test_a_folder_of_several_formats_is_read_as_one(table: pd.DataFrame, right: Score) -> None:
    suffixes = [".csv", ".tsv.gz", ".parquet", ".h5ad"]
    for (_, rows), suffix in zip(table.groupby("Metadata_Plate"), suffixes, strict=True):
        write(rows.reset_index(drop=True), f"mixed/a{suffix}")
    assert_score(run("mixed"), right)


# What is not read


@pytest.mark.parametrize("suffix", [".gct", ".npy", ".sqlite", ".xlsx", ".pkl"])
def test_other_formats_are_refused_in_one_sentence(suffix: str) -> None:
    name = f"other{suffix}"
    if suffix == ".npy":
        np.save(name, np.eye(3))
    else:
        Path(name).write_bytes(
            {".gct": b"#1.3\n96\t36\t9\t15\n", ".sqlite": b"SQLite format 3\0"}.get(suffix, b"PK\3\4")
        )
    done = run(name)
    assert_refused(done, name)
    assert done.output.count("\n") == 1, done.output
    assert "csv" in done.output or "parquet" in done.output, done.output
