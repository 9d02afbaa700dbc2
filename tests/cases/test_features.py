"""What is a feature: numbers that are known to be none are left out and named, and options decide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import (
    Run,
    Score,
    assert_refused,
    assert_score,
    command,
    features_of,
    make,
    replicates,
    run,
    write,
)

NO_FEATURES = [
    "index",
    "level_0",
    "row_number",
    "ImageNumber",
    "ObjectNumber",
    "Image_ImageNumber",
    "Cells_Number_Object_Number",
    "Nuclei_Location_Center_X",
    "Cells_Location_CenterMassIntensity_X_DNA",
    "Cells_AreaShape_Center_Y",
    "Nuclei_Parent_Cells",
    "Parent_Nuclei",
    "Count_Cells",
    "Image_Count_Nuclei",
    "cell_count",
    "concentration",
    "Concentration_uM",
    "dose",
    "Dose (uM)",
    "time",
    "timepoint",
    "plate",
    "batch",
    "compound_id",
    "SampleID",
]
FEATURES = [
    "Cells_AreaShape_Compactness",
    "Cells_Neighbors_NumberOfNeighbors_Adjacent",
    "Nuclei_Correlation_Correlation_DNA_ER",
    "Cytoplasm_Granularity_1_Mito",
    "Nuclei_Texture_Contrast_DNA_3_00_256",
    "Cells_RadialDistribution_FracAtD_AGP_1of4",
    "Cells_Intensity_MassDisplacement_RNA",
    "Nuclei_AreaShape_Area",
    "Cells_AreaShape_Zernike_0_0",
    "Nuclei_Intensity_IntegratedIntensity_DNA",
]


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=80)


@pytest.fixture(scope="module", name="numbers")
def far_off(table: pd.DataFrame) -> np.ndarray:
    """Numbers that decide every cosine where they take part."""
    return np.round(np.random.default_rng(81).uniform(-500, 500, len(table)), 2)


def with_feature(table: pd.DataFrame, numbers: np.ndarray) -> Score:
    return replicates(table, X=np.column_stack([table[features_of(table)], numbers]))


def n_features(done: Run) -> int:
    found: int = done.result["model"]["n_features"]
    return found


@pytest.mark.parametrize("name", NO_FEATURES)
def test_a_number_that_is_no_feature_is_left_out_and_named(
    name: str, table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    path = write(table.assign(**{name: numbers}), "table.csv")
    done = run(path)
    assert_score(done, right)
    assert n_features(done) == 8
    assert done.said(name, "--keep-feature"), done.warnings


@pytest.mark.parametrize("name", ["index", "ImageNumber", "concentration"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_one_that_is_kept_is_a_feature_again(name: str, form: str, table: pd.DataFrame, numbers: np.ndarray) -> None:
    done = run(write(table.assign(**{name: numbers}), f"table.{form}"), f"--keep-feature {name}")
    assert_score(done, with_feature(table, numbers))
    assert n_features(done) == 9
    assert not done.said("--keep-feature"), done.warnings


@pytest.mark.parametrize("form", ["parquet", "h5ad"])
def test_it_is_the_same_in_other_formats(form: str, table: pd.DataFrame, right: Score, numbers: np.ndarray) -> None:
    done = run(write(table.assign(ImageNumber=numbers.astype(np.int64), dose=numbers), f"table.{form}"))
    assert_score(done, right)
    if form == "parquet":
        assert done.said("ImageNumber", "dose", "--keep-feature"), done.warnings


def test_a_feature_of_h5ad_that_is_no_feature_is_left_out_too(
    table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    import anndata

    wide = table.assign(ImageNumber=numbers)
    names = [*features_of(table), "ImageNumber"]
    obs = table.drop(columns=features_of(table)).set_axis([str(i) for i in range(len(table))])
    anndata.AnnData(wide[names].to_numpy(), obs, pd.DataFrame(index=names)).write_h5ad("table.h5ad")
    done = run("table.h5ad")
    assert_score(done, right)
    assert done.said("ImageNumber", "--keep-feature"), done.warnings


@pytest.mark.parametrize("name", ["Unnamed: 0", ""])
def test_an_index_without_a_name_takes_no_part(name: str, table: pd.DataFrame, right: Score) -> None:
    wide = table.copy()
    wide.insert(0, name, np.arange(len(table)) * 50)
    assert_score(run(write(wide, "table.csv")), right)


@pytest.mark.parametrize("name", [" Metadata_Count", "Metadata_Count ", " Metadata_Batch"])
def test_a_blank_in_the_header_makes_no_feature(
    name: str, table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    wide = table.drop(columns="Metadata_Batch").assign(**{name: np.abs(numbers // 300)})
    if "Batch" in name:
        wide[name] = wide["Metadata_Plate"].str[1:].astype(int) * 40
    for form in ("csv", "parquet"):
        assert_score(run(write(wide, f"table.{form}")), right)


def test_metadata_of_the_default_prefix_is_none_beside_another_prefix(
    table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    named = table.rename(columns=lambda name: f"Image_{name}" if name.startswith("Metadata_") else name)
    path = write(named.assign(Metadata_Count_Cells=numbers, Metadata_Site=9), "table.csv")
    assert_score(run(path, "--metadata-prefix Image_Metadata_"), right)


def test_a_column_in_a_condition_or_with_a_role_is_no_feature(table: pd.DataFrame, numbers: np.ndarray) -> None:
    path = write(table.assign(share=np.abs(numbers)), "table.csv")
    kept = np.abs(numbers) >= 40
    assert_score(run(path, "--exclude 'share<40'"), replicates(table[kept].reset_index(drop=True)))
    whole = write(table.assign(number=table["Metadata_Plate"].str[1:].astype(int) * 500), "roles.csv")
    assert_score(run(whole, "--column batch=number"), replicates(table))


def test_features_of_cellprofiler_stay_features_without_a_note(table: pd.DataFrame) -> None:
    wide = table.assign(**{name: table[f"f{i % 8}"] * (1 + i / 100) + i / 10 for i, name in enumerate(FEATURES)})
    wide = wide.drop(columns=features_of(table))
    done = run(write(wide, "table.csv"))
    assert_score(done, replicates(table, X=wide[FEATURES].to_numpy()))
    assert n_features(done) == len(FEATURES)
    assert not done.said("--keep-feature"), done.warnings


# Options


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_feature_prefix_keeps_only_what_starts_with_it(
    form: str, table: pd.DataFrame, right: Score, numbers: np.ndarray
) -> None:
    wide = table.rename(columns={name: f"emb_{name}" for name in features_of(table)})
    path = write(wide.assign(quality=numbers, viability=numbers, remark="text"), f"table.{form}")
    done = run(path, "--feature-prefix emb_")
    assert_score(done, right)
    assert n_features(done) == 8


def test_feature_prefixes_repeat(table: pd.DataFrame, right: Score, numbers: np.ndarray) -> None:
    names = {name: f"{'left' if int(name[1:]) < 4 else 'right'}_{name}" for name in features_of(table)}
    path = write(table.rename(columns=names).assign(x_1=numbers), "table.csv")
    assert_score(run(path, "--feature-prefix left_ --feature-prefix right_"), right)
    half = replicates(table, X=table[[f"f{i}" for i in range(4)]].to_numpy())
    assert_score(run(path, "--feature-prefix left_"), half)


def test_a_kept_feature_adds_to_a_prefix(table: pd.DataFrame, numbers: np.ndarray) -> None:
    path = write(table.assign(dose=numbers, remark="text"), "table.csv")
    assert_score(run(path, "--feature-prefix f --keep-feature dose"), with_feature(table, numbers))


def test_options_that_name_nothing_are_refused(table: pd.DataFrame) -> None:
    path = write(table, "table.csv")
    assert_refused(run(path, "--feature-prefix emb_"), "emb_")
    assert_refused(run(path, "--keep-feature nothing"), "nothing")


# Notes


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_number_that_shares_no_prefix_with_the_rest_is_named(form: str, table: pd.DataFrame) -> None:
    names = {name: f"Cells_Texture_{name}" for name in features_of(table)}
    wide = table.rename(columns=names).assign(viability=table["f0"] / 2)
    done = run(write(wide, f"table.{form}"))
    assert_score(done, with_feature(table, (table["f0"] / 2).to_numpy()))
    assert done.said("viability"), done.warnings


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_a_feature_that_makes_up_most_of_the_length_is_named(scale: float, table: pd.DataFrame) -> None:
    long = table.assign(f3=table["f3"] * scale + scale)
    done = run(write(long, "long.csv"))
    assert done.code == 0, done.output
    assert done.said("f3"), done.warnings


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_a_plain_table_has_no_note_on_features(form: str, table: pd.DataFrame, right: Score) -> None:
    done = run(write(table, f"plain.{form}"))
    assert_score(done, right)
    assert n_features(done) == 8
    assert not [warning for warning in done.warnings if "feature" in warning], done.warnings


def test_the_result_has_a_hash_of_the_names_of_features(table: pd.DataFrame) -> None:
    """Other names, another hash; the order of columns, none."""
    model = run(write(table, "a.csv")).result["model"]
    names = features_of(table)
    other = run(write(table.rename(columns={"f3": "f9"}), "b.csv")).result["model"]
    again = run(write(table, "c.parquet")).result["model"]
    hashes = [key for key in model if "feature" in key and isinstance(model[key], str)]
    assert hashes, model
    assert all(model[key] != other[key] for key in hashes)
    assert all(model[key] == again[key] for key in hashes)
    assert model["n_features"] == len(names)


def test_normalize_writes_and_shows_the_features(table: pd.DataFrame, numbers: np.ndarray) -> None:
    path = write(table.assign(ImageNumber=numbers), "table.csv")
    done = command("normalize", path, "--steps", "center", "--out", "out.parquet")
    assert done.code == 0, done.output
    assert "8 features" in done.output, done.output
    assert "ImageNumber" in done.output, done.output
    written = pq.read_schema("out.parquet")
    assert [name for name in written.names if name.startswith("f")] == features_of(table)
    assert_score(run("out.parquet"), run(path, how="center").score)
