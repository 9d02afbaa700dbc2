"""What must be constant is: filled from the rest with a note, or refused where it contradicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import (
    CONTROL,
    Score,
    assert_refused,
    assert_score,
    compound_numbers,
    make,
    renamed,
    replicates,
    run,
    targets_score,
    write,
)

GENES = ["EGFR", "MTOR", "TUBB"]


@pytest.fixture(scope="module", name="table")
def two_modalities() -> pd.DataFrame:
    """Six compounds with targets and six genes, on two plates."""
    table = make(compounds=12, plates=2, controls=4, seed=76)
    numbers = compound_numbers(table)
    table["Metadata_Target"] = [GENES[i % 3] if 0 <= i < 6 else None for i in numbers]
    table["Metadata_Symbol"] = [GENES[i % 3] if i >= 6 else None for i in numbers]
    return table


@pytest.fixture(scope="module", name="right")
def brute_force(table: pd.DataFrame) -> tuple[Score, Score]:
    def of(numbers: range) -> Score:
        return targets_score(table, {f"c{i:02d}": [GENES[i % 3]] for i in numbers})

    return of(range(6)), of(range(6, 12))


def assert_both(done: Any, right: tuple[Score, Score]) -> None:
    assert_score(done, right[0], "compounds")
    assert_score(done, right[1], "genes")


# Genes and targets


def test_the_whole_table_is_scored_without_a_note(table: pd.DataFrame, right: tuple[Score, Score]) -> None:
    done = run(write(table, "whole.csv"), task="target-matching")
    assert_both(done, right)
    assert not done.said("Metadata_Symbol"), done.warnings
    assert not done.said("Metadata_Target"), done.warnings


@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
@pytest.mark.parametrize("column", ["Metadata_Symbol", "Metadata_Target"])
def test_what_some_wells_lack_is_filled_with_a_note(
    column: str, form: str, table: pd.DataFrame, right: tuple[Score, Score]
) -> None:
    half = table.assign(**{column: table[column].mask(table["Metadata_Plate"] == "Q2")})
    done = run(write(half, f"half.{form}"), task="target-matching")
    assert_both(done, right)
    assert done.said(column), done.warnings


def test_what_a_file_lacks_is_filled_with_a_note(table: pd.DataFrame, right: tuple[Score, Score]) -> None:
    first = table["Metadata_Plate"] == "Q1"
    lacking = table[~first].drop(columns=["Metadata_Symbol", "Metadata_Target"])
    done = run([write(table[first], "a.csv"), write(lacking, "b.parquet")], task="target-matching")
    assert_both(done, right)
    assert done.said("Metadata_Symbol"), done.warnings


def test_genes_whose_targets_are_their_symbols_on_one_plate_are_genes(
    table: pd.DataFrame, right: tuple[Score, Score]
) -> None:
    second = table["Metadata_Plate"] == "Q2"
    half = table.assign(
        Metadata_Target=table["Metadata_Target"].mask(
            second & table["Metadata_Symbol"].notna(), table["Metadata_Symbol"]
        ),
        Metadata_Symbol=table["Metadata_Symbol"].mask(second),
    )
    assert_both(run(write(half, "half.parquet"), task="target-matching"), right)


@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
@pytest.mark.parametrize(("column", "name"), [("Metadata_Symbol", "c07"), ("Metadata_Target", "c01")])
def test_two_values_of_one_perturbation_are_refused(column: str, name: str, form: str, table: pd.DataFrame) -> None:
    odd = (table["Metadata_Perturbation"] == name) & (table["Metadata_Plate"] == "Q2")
    done = run(write(table.assign(**{column: table[column].mask(odd, "KRAS")}), f"odd.{form}"), task="target-matching")
    assert_refused(done, "KRAS", "MTOR", name, column, "row ")


def test_two_values_in_two_files_are_refused_with_the_file(table: pd.DataFrame) -> None:
    odd = (
        table["Metadata_Symbol"].replace("MTOR", "mTOR").mask(table["Metadata_Plate"] == "Q1", table["Metadata_Symbol"])
    )
    changed = table.assign(Metadata_Symbol=odd)
    first = changed["Metadata_Plate"] == "Q1"
    done = run([write(changed[first], "a.csv"), write(changed[~first], "b.csv")], task="target-matching")
    assert_refused(done, "mTOR", "MTOR", ".csv: row ")


def test_the_order_of_several_targets_is_no_contradiction(table: pd.DataFrame) -> None:
    names = {f"c{i:02d}": [GENES[i % 3], GENES[(i + 1) % 3]] if i == 0 else [GENES[i % 3]] for i in range(6)}
    odd = table["Metadata_Perturbation"] == "c00"
    second = table["Metadata_Plate"] == "Q2"
    spelled = table["Metadata_Target"].mask(odd & second, "MTOR|EGFR").mask(odd & ~second, "EGFR|MTOR")
    done = run(write(table.assign(Metadata_Target=spelled), "order.csv"), task="target-matching")
    assert_score(done, targets_score(table, names), "compounds")


# Types of controls


@pytest.fixture(scope="module", name="screen")
def plain() -> pd.DataFrame:
    return make(seed=77)


@pytest.mark.parametrize("text", [None, "", "NA", "nan"])
@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
def test_a_type_that_is_missing_is_that_of_the_same_name(form: str, text: str | None, screen: pd.DataFrame) -> None:
    gaps = screen.assign(Metadata_pert_type=screen["Metadata_pert_type"].mask(screen["Metadata_Plate"] > "Q2", text))
    done = run(write(gaps, f"gaps.{form}"))
    assert_score(done, replicates(screen))
    assert done.said(CONTROL), done.warnings


def test_a_type_that_a_file_lacks_is_that_of_the_same_name(screen: pd.DataFrame) -> None:
    first = screen["Metadata_Plate"] <= "Q2"
    files = [write(screen[first], "a.parquet"), write(screen[~first].drop(columns="Metadata_pert_type"), "b.csv")]
    done = run(files)
    assert_score(done, replicates(screen))
    assert done.said(CONTROL), done.warnings


def test_a_control_of_any_name_is_filled(screen: pd.DataFrame) -> None:
    named = renamed(screen, [f"c{i}" for i in range(10)], "mock 7")
    some = (named["Metadata_Perturbation"] == "mock 7") & (np.arange(len(named)) % 2 == 0)
    done = run(write(named.assign(Metadata_pert_type=named["Metadata_pert_type"].mask(some)), "some.csv"))
    assert_score(done, replicates(screen))
    assert done.said("mock 7"), done.warnings


@pytest.mark.parametrize("kind", ["trt", "poscon"])
@pytest.mark.parametrize("name", [CONTROL, "mock 7"])
def test_a_control_that_is_treated_elsewhere_is_named(name: str, kind: str, screen: pd.DataFrame) -> None:
    named = renamed(screen, [f"c{i:02d}" for i in range(10)], name)
    odd = (named["Metadata_Perturbation"] == name) & (named["Metadata_Plate"] > "Q2")
    mixed = named.assign(Metadata_pert_type=named["Metadata_pert_type"].mask(odd, kind))
    done = run(write(mixed, "mixed.parquet"))
    assert done.code == 0, done.output
    assert done.said(name), done.warnings


@pytest.mark.parametrize("name", ["DMSO", "dmso", "JCP2022_033924", "non-targeting", "EMPTY"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_usual_control_among_treated_wells_is_named(form: str, name: str, screen: pd.DataFrame) -> None:
    named = renamed(screen, [f"c{i:02d}" for i in range(10)], name).drop(columns="Metadata_pert_type")
    done = run(write(named, f"named.{form}"))
    assert done.code == 0, done.output
    assert done.said(name), done.warnings


@pytest.mark.parametrize("name", ["DMSO", "JCP2022_033924", "non-targeting", "EMPTY"])
def test_a_usual_control_that_is_declared_is_no_note(name: str, screen: pd.DataFrame) -> None:
    named = renamed(screen, [f"c{i:02d}" for i in range(10)], name)
    done = run(write(named, "named.csv"))
    assert_score(done, replicates(screen))
    assert not done.said(name), done.warnings
    bare = write(named.drop(columns="Metadata_pert_type"), "bare.csv")
    done = run(bare, f"--negcon Metadata_Perturbation={name}")
    assert_score(done, replicates(screen))
    assert not done.said(name), done.warnings
