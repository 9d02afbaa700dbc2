"""What ``normalize --out`` wrote: every metadata column under its own name, and no options needed to score it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import Score, assert_refused, assert_score, command, make, run, same, write, write_h5ad

# How roles are called in a file, and the options that say so.
CALLED: dict[str, tuple[dict[str, str], str]] = {
    "own names": (
        {"Metadata_Plate": "barcode", "Metadata_Well": "address", "Metadata_Perturbation": "drug"},
        "--column plate=barcode --column well=address --column perturbation=drug",
    ),
    "a prefix": (
        {name: f"Image_{name}" for name in ("Metadata_Plate", "Metadata_Well", "Metadata_Batch")},
        "--metadata-prefix Image_",
    ),
    "swapped": (
        {"Metadata_Batch": "Metadata_Plate", "Metadata_Plate": "Metadata_Batch"},
        "--column plate=Metadata_Batch --column batch=Metadata_Plate",
    ),
    "prefix and name": (
        {"Metadata_Plate": "Image_Metadata_Plate", "Metadata_Perturbation": "Metadata_broad_sample"},
        "--metadata-prefix Image_Metadata_ --column perturbation=Metadata_broad_sample",
    ),
}


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    table = make(seed=175)
    # Of no role: values of several types, of which two columns differ in their prefix alone.
    return table.assign(
        Metadata_Count=np.arange(len(table)) * 7,
        Metadata_pH=np.round(np.arange(len(table)) / 8, 3),
        Metadata_Note=[f"n{i:02d}" for i in range(len(table))],
        Metadata_Code=["012", "12", "1E1", "10.0"] * (len(table) // 4),
    )


def normalized(path: str, options: str, steps: str = "center") -> pd.DataFrame:
    done = command("normalize", path, "--steps", steps, *options.split(), "--out", "out.parquet")
    assert done.code == 0, done.output
    return pd.read_parquet("out.parquet")


def scored(path: str, *options: str) -> Score:
    """``phenobench score`` without any option for roles."""
    folder = Path("scored")
    wanted = ["--task", "replicate-retrieval", "--model", "m", "--screen", "s", "--results", folder]
    done = command("score", path, *wanted, *options)
    assert done.code == 0, done.output
    (file,) = folder.glob("s/m/*/*.json")
    first: dict[str, Any] = json.loads(file.read_text())["scores"][0]
    return first["value"], first["n"]


@pytest.mark.parametrize(
    ("called", "form"), [*((called, "csv") for called in CALLED), ("a prefix", "h5ad"), ("own names", "parquet")]
)
def test_score_needs_no_options_for_roles(called: str, form: str, table: pd.DataFrame) -> None:
    names, options = CALLED[called]
    path = write(table.rename(columns=names), f"named.{form}")
    done = run(path, options, how="center")
    assert done.code == 0, done.output
    out = normalized(path, options)
    assert {*names.values()} <= set(out.columns), [*out.columns]
    assert same(scored("out.parquet"), done.score)


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_values_of_columns_without_a_role_are_their_own(form: str, table: pd.DataFrame) -> None:
    out = normalized(write(table, f"table.{form}"), "")
    keys = ["Metadata_Plate", "Metadata_Well"]
    left = table.sort_values(keys).reset_index(drop=True)
    right = out.sort_values(keys).reset_index(drop=True)
    for name in ("Metadata_Count", "Metadata_pH"):
        assert right[name].astype(float).tolist() == left[name].astype(float).tolist(), name
    assert right["Metadata_Note"].tolist() == left["Metadata_Note"].tolist()
    assert right["Metadata_Batch"].tolist() == left["Metadata_Batch"].tolist()


def test_a_column_that_is_joined_stays_beside_the_label(table: pd.DataFrame) -> None:
    dosed = table.assign(Metadata_Dose=[["1.0", "10.0", "10"][i % 3] for i in range(len(table))])
    options = "--column perturbation=Metadata_Perturbation,Metadata_Dose --negcon Metadata_Perturbation=DMSO"
    for name in ("dosed.csv", "dosed.parquet"):
        path = write(dosed.drop(columns="Metadata_pert_type"), name)
        right = run(path, options, how="center").score
        out = normalized(path, options)
        assert (
            out["Metadata_Dose"].astype(str).value_counts().to_dict() == dosed["Metadata_Dose"].value_counts().to_dict()
        )
        assert set(out["Metadata_Perturbation"].dropna()) >= {"c00", "c09"}, set(out["Metadata_Perturbation"])
        assert same(scored("out.parquet"), right)
        for file in Path("scored").rglob("*.json"):
            file.unlink()


def test_the_plate_of_a_file_is_kept(table: pd.DataFrame) -> None:
    for plate, rows in table.groupby("Metadata_Plate"):
        write(rows.drop(columns="Metadata_Plate"), f"plates/{plate}.csv")
    right = run("plates", "--plate-from-file", how="center").score
    normalized("plates", "--plate-from-file")
    assert same(scored("out.parquet"), right)


def test_row_and_column_of_a_well_are_kept(table: pd.DataFrame) -> None:
    parts = table.drop(columns="Metadata_Well").assign(
        Metadata_Row=table["Metadata_Well"].str[0], Metadata_Col=table["Metadata_Well"].str[1:].astype(int)
    )
    options = "--column well=Metadata_Row,Metadata_Col"
    path = write(parts, "parts.parquet")
    out = normalized(path, options)
    assert {"Metadata_Row", "Metadata_Col"} <= set(out.columns)
    assert same(scored("out.parquet"), run(path, options, how="center").score)


def test_texts_of_roles_stay_as_written_through_normalize(table: pd.DataFrame) -> None:
    names = dict(zip(["Q1", "Q2", "Q3", "Q4"], ["012", "12", "1E1", "20230415093012345671"], strict=True))
    for form in ("csv", "parquet", "h5ad"):
        out = normalized(write(table.assign(Metadata_Plate=table["Metadata_Plate"].map(names)), f"table.{form}"), "")
        assert set(out["Metadata_Plate"]) == set(names.values())


@pytest.mark.parametrize("command_name", ["normalize", "score"])
def test_two_columns_for_a_role_are_refused_by_every_command(command_name: str, table: pd.DataFrame) -> None:
    two = table.copy()
    two.insert(0, "Image_Metadata_Perturbation", np.roll(two["Metadata_Perturbation"], 1))
    path = write(two, "two.parquet")
    more: list[object] = ["--steps", "center", "--out", "out.parquet"]
    if command_name == "score":
        more = ["--task", "replicate-retrieval", "--model", "m", "--screen", "s", "--results", "scored"]
    done = command(command_name, path, *more, "--metadata-prefix", "Image_Metadata_")
    assert_refused(done, "Image_Metadata_Perturbation", "--column perturbation=")
    assert not Path("out.parquet").exists()


def test_three_columns_for_a_role_are_all_named(table: pd.DataFrame) -> None:
    three = table.assign(A_Metadata_Plate="x", B_Metadata_Plate="y")
    done = run(write(three, "three.csv"), "--metadata-prefix A_ --metadata-prefix B_")
    assert_refused(done, "A_Metadata_Plate", "B_Metadata_Plate", "--column plate=")


def test_two_columns_in_two_files_are_two_all_the_same(table: pd.DataFrame) -> None:
    """Each file has one candidate and the second has both."""
    first = table["Metadata_Plate"] <= "Q2"
    b = table[~first].assign(Image_Metadata_Perturbation=np.roll(table[~first]["Metadata_Perturbation"], 1))
    done = run([write(table[first], "a.csv"), write(b, "b.csv")], "--metadata-prefix Image_Metadata_")
    assert_refused(done, "Image_Metadata_Perturbation", "--column perturbation=")


@pytest.mark.parametrize("name", ["Plate", "plate"])
def test_a_bare_name_of_h5ad_is_refused_beside_a_prefix(name: str, table: pd.DataFrame) -> None:
    two = table.rename(columns={"Metadata_Plate": "Image_Metadata_Plate"})
    two.insert(0, name, np.roll(two["Image_Metadata_Plate"], 1))
    done = run(write_h5ad(two, "two.h5ad"), "--metadata-prefix Image_Metadata_")
    if name == "Plate":
        assert_refused(done, "Image_Metadata_Plate", "--column plate=")
    elif done.code:
        assert_refused(done, "--column plate=")
    else:
        assert_score(done, run(write(table, "table.csv")).score)
