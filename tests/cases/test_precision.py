"""Features whose offset is far above their spread, which float32 would round away."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import (
    Score,
    assert_score,
    centred,
    features_of,
    make,
    one_a_plate,
    replicates,
    run,
    same,
    write,
)

OFFSETS = [(3e5, 0.01), (1e9, 1.0), (-5e6, 0.05), (1e12, 1e3)]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=89)


def offset(table: pd.DataFrame, mean: float, spread: float) -> tuple[pd.DataFrame, Score]:
    """The table far from zero, and what centring in float64 makes of it."""
    names = features_of(table)
    far = table.copy()
    far[names] = table[names] * spread + mean
    return far, replicates(far, X=centred(far))


@pytest.mark.parametrize(("mean", "spread"), OFFSETS)
@pytest.mark.parametrize("form", ["parquet", "csv", "h5ad"])
def test_centring_happens_before_digits_are_lost(form: str, mean: float, spread: float, table: pd.DataFrame) -> None:
    far, right = offset(table, mean, spread)
    rounded = far[features_of(far)].to_numpy().astype(np.float32)
    assert not same(right, replicates(far, X=centred(far, rounded) + 1e-9))
    assert_score(run(write(far, f"far.{form}"), how="center"), right)


def test_one_feature_of_many_may_be_far_from_zero(table: pd.DataFrame) -> None:
    far = table.assign(f4=table["f4"] * 0.01 + 3e5)
    assert_score(run(write(far, "far.parquet"), how="center"), replicates(far, X=centred(far)))


def test_a_file_a_plate_and_excluded_wells_make_no_difference(table: pd.DataFrame) -> None:
    far, right = offset(table, 3e5, 0.01)
    assert_score(run(one_a_plate(far, "far"), how="center"), right)
    left = far[far["Metadata_Perturbation"] != "c03"].reset_index(drop=True)
    done = run("far", "--exclude Metadata_Perturbation=c03", how="center")
    assert_score(done, replicates(left, X=centred(left)))


def test_plates_may_be_far_from_each_other(table: pd.DataFrame) -> None:
    """Each plate has an offset of its own, and one of them none."""
    names = features_of(table)
    far = table.copy()
    far[names] = table[names] * 0.01
    for i, plate in enumerate(("Q2", "Q3", "Q4")):
        far.loc[far["Metadata_Plate"] == plate, names] += 10.0 ** (5 + i / 2)
    assert_score(run(write(far, "far.parquet"), how="center"), replicates(far, X=centred(far)))


def test_a_file_that_is_itself_too_coarse_is_noted(table: pd.DataFrame) -> None:
    far, _ = offset(table, 3e5, 0.01)
    narrow = far.astype(dict.fromkeys(features_of(far), np.float32))
    done = run(write(narrow, "narrow.parquet"), how="center")
    assert done.code == 0, done.output
    assert done.said("float32"), done.warnings


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_usual_scales_are_no_note(form: str, table: pd.DataFrame) -> None:
    names = features_of(table)
    usual = table.copy()
    usual[names] = table[names] * 30 + 1000
    for types in (np.float32, np.float64):
        done = run(write(usual.astype(dict.fromkeys(names, types)), f"usual.{form}"), how="center")
        assert_score(done, replicates(usual, X=centred(usual)))
        assert not done.said("float32"), done.warnings


def test_constant_features_are_no_note(table: pd.DataFrame) -> None:
    done = run(write(table.assign(f8=1e9), "constant.parquet"), how="center")
    assert_score(done, replicates(table, X=centred(table)))
    assert not done.said("float32"), done.warnings
