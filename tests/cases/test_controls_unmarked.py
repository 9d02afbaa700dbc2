"""Controls that a file marks in part, or as treated, and types that are filled from the same name elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import (
    CONTROL,
    Score,
    assert_refused,
    assert_score,
    centred,
    make,
    one_a_plate,
    renamed,
    replicates,
    run,
    targets_score,
    write,
)

USUAL = ["DMSO", "JCP2022_033924", "non-targeting", "EMPTY"]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=191)


def named(table: pd.DataFrame, control: str) -> pd.DataFrame:
    return renamed(table, [f"c{i:02d}" for i in range(10)], control)


@pytest.mark.parametrize(("name", "form"), [*zip(USUAL, ["csv", "parquet", "h5ad", "csv"], strict=True)])
def test_a_usual_control_that_is_marked_as_treated_is_named(name: str, form: str, table: pd.DataFrame) -> None:
    done = run(write(named(table, name).assign(Metadata_pert_type="trt"), f"treated.{form}"))
    assert done.code == 0, done.output
    assert done.score[1] == 11
    assert done.said(name), done.warnings


@pytest.mark.parametrize("name", ["DMSO", "EMPTY"])
def test_a_usual_control_of_another_type_is_no_note(name: str, table: pd.DataFrame) -> None:
    mixed = named(table, name)
    kinds = mixed["Metadata_pert_type"].replace("negcon", "empty")
    done = run(write(mixed.assign(Metadata_pert_type=kinds), "empty.csv"))
    assert_score(done, replicates(table))
    assert not done.said("--negcon"), done.warnings


@pytest.mark.parametrize("some", [0, 3])
def test_one_plate_without_types_has_those_of_the_others(some: int, table: pd.DataFrame) -> None:
    here = table["Metadata_Plate"] == f"Q{some + 1}"
    path = write(table.assign(Metadata_pert_type=table["Metadata_pert_type"].mask(here)), "some.csv")
    done = run(path, how="center")
    assert_score(done, replicates(table, X=centred(table)))
    assert done.said(CONTROL), done.warnings


def test_types_are_filled_from_another_file_in_any_order(table: pd.DataFrame) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    bare = write(table[first].drop(columns="Metadata_pert_type"), "a.parquet")
    whole = write(table[~first], "z.csv")
    for files in ([bare, whole], [whole, bare]):
        done = run(files)
        assert_score(done, replicates(table))
        assert done.said(CONTROL), done.warnings


def test_a_positive_control_is_filled_and_stays_one(table: pd.DataFrame) -> None:
    kinds = table["Metadata_pert_type"].mask(table["Metadata_Perturbation"] == "c00", "poscon")
    gaps = kinds.mask((table["Metadata_Perturbation"] == "c00") & (table["Metadata_Plate"] > "Q2"))
    whole = run(write(table.assign(Metadata_pert_type=kinds), "whole.csv"))
    done = run(write(table.assign(Metadata_pert_type=gaps), "gaps.csv"))
    assert_score(done, whole.score)
    assert done.said("c00"), done.warnings


@pytest.mark.parametrize("option", ["--negcon Metadata_Perturbation=DMSO", "--label Metadata_Perturbation=DMSO:negcon"])
def test_an_option_that_marks_them_all_leaves_no_note(option: str, table: pd.DataFrame) -> None:
    half = table["Metadata_pert_type"].mask(
        (table["Metadata_Perturbation"] == CONTROL) & (table["Metadata_Plate"] > "Q2")
    )
    done = run(write(table.assign(Metadata_pert_type=half), "half.csv"), option)
    assert_score(done, replicates(table))
    assert not done.said(CONTROL), done.warnings


def test_a_note_on_a_mixed_control_is_there_for_files_a_plate(table: pd.DataFrame) -> None:
    odd = (table["Metadata_Perturbation"] == CONTROL) & (table["Metadata_Plate"] == "Q4")
    mixed = table.assign(Metadata_pert_type=table["Metadata_pert_type"].mask(odd, "trt"))
    for form in ("csv", "pandas", "h5ad"):
        done = run(one_a_plate(mixed, form, form))
        assert done.said(CONTROL), done.warnings


# Genes and targets over files and formats


@pytest.fixture(scope="module", name="genes")
def of_genes() -> pd.DataFrame:
    table = make(compounds=12, plates=2, controls=4, seed=192)
    numbers = [-1 if name == CONTROL else int(name[1:]) for name in table["Metadata_Perturbation"]]
    return table.assign(
        Metadata_Symbol=pd.Series([f"{i % 4:02d}" if i >= 4 else None for i in numbers], dtype=object),
        Metadata_Target=pd.Series([f"{i % 2:02d}" if 0 <= i < 4 else None for i in numbers], dtype=object),
    )


@pytest.fixture(scope="module", name="of_genes_right")
def brute_force(genes: pd.DataFrame) -> Score:
    return targets_score(genes, {f"c{i:02d}": [f"{i % 4:02d}"] for i in range(4, 12)})


@pytest.mark.parametrize("text", ["", "NA", "nan", None])
def test_a_gene_that_is_missing_in_part_is_filled(text: str | None, genes: pd.DataFrame, of_genes_right: Score) -> None:
    gaps = genes.assign(Metadata_Symbol=genes["Metadata_Symbol"].mask(np.arange(len(genes)) < 12, text))
    for form in ("csv", "parquet"):
        done = run(write(gaps, f"gaps.{form}"), task="target-matching")
        assert_score(done, of_genes_right, "genes")
        assert done.said("Metadata_Symbol"), done.warnings


def test_a_gene_that_is_a_number_in_one_file_is_no_contradiction(genes: pd.DataFrame, of_genes_right: Score) -> None:
    first = genes["Metadata_Plate"] == "Q1"
    a = write(genes[first].assign(Metadata_Symbol=pd.to_numeric(genes["Metadata_Symbol"]).astype("Int64")), "a.parquet")
    done = run([a, write(genes[~first], "b.csv")], task="target-matching")
    assert_score(done, of_genes_right, "genes")


@pytest.mark.parametrize("other", ["1", "01.0", "1e0"])
def test_two_spellings_of_a_gene_contradict_each_other(other: str, genes: pd.DataFrame) -> None:
    odd = (genes["Metadata_Perturbation"] == "c05") & (genes["Metadata_Plate"] == "Q2")
    done = run(write(genes.assign(Metadata_Symbol=genes["Metadata_Symbol"].mask(odd, other)), "odd.csv"))
    assert_refused(done, "'01'", f"'{other}'", "c05", "Metadata_Symbol", "row ")


def test_the_gene_of_a_dose_is_that_of_its_compound_with_the_dose(genes: pd.DataFrame) -> None:
    """Constant over a label that is joined: two doses may have two genes."""
    dosed = genes.assign(Metadata_Dose=np.where(genes["Metadata_Plate"] == "Q1", "1", "2"))
    changed = dosed["Metadata_Symbol"].mask((dosed["Metadata_Plate"] == "Q2") & dosed["Metadata_Symbol"].notna(), "X")
    options = "--column perturbation=Metadata_Perturbation,Metadata_Dose"
    done = run(write(dosed.assign(Metadata_Symbol=changed), "dosed.csv"), options, task="target-matching")
    assert done.code == 0, done.output
