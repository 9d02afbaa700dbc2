"""Profiles: what they accept, and the file they are written to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import phenobench as pb
from phenobench.errors import InputError
from phenobench.profiles import PROVENANCE_KEY, ROLES, Profiles
from phenobench.profiles.finite import all_finite


def metadata(n: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metadata_Plate": ["P2", "P1", "P10", "P1"][:n],
            "Metadata_Well": ["A01", "B01", "A01", "A02"][:n],
            "Metadata_dose": [0.5, 1.0, np.nan, 2.0][:n],
        }
    )


def features(n: int = 4, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)


# From Python


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, bool, object])
def test_a_table_and_a_matrix_are_enough(kind: type) -> None:
    values: np.ndarray = np.array([[1, 0], [0, 1], [1, 1]]).astype(kind)
    profiles = pb.Profiles(metadata(3).set_axis([5, 6, 7]), values)
    assert profiles.features.dtype == np.float32
    assert profiles.features.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert profiles.feature_names == ("feature_0", "feature_1")
    assert profiles.metadata.index.tolist() == [0, 1, 2]
    assert len(profiles) == 3
    assert profiles.treated.all()
    assert not profiles.negative_controls.any()


@pytest.mark.parametrize(
    ("table", "values", "names", "match"),
    [
        (metadata(3), features(4), (), r"features of shape \(4, 3\) do not fit 3 rows"),
        (metadata(4), features(4)[:, 0], (), r"features of shape \(4,\) do not fit"),
        (metadata(4), features(4), ("a", "b"), "2 feature names for 3 features"),
        (metadata(4), features(4), ("a", "b", "a"), "the column 'a' occurs twice"),
        (metadata(4), features(4), ("a", "b", "Metadata_Well"), "the column 'Metadata_Well' occurs twice"),
        (pd.concat([metadata(), metadata()], axis=1), features(4), (), "the column 'Metadata_Plate' occurs twice"),
        (metadata(4), np.array([["a", "b"]] * 4), (), "features must be numbers"),
        (metadata(4), np.array([["a", 1]] * 4, dtype=object), (), "features must be numbers"),
        (metadata(4), features(4) * 1j, (), "features must be numbers"),
        (metadata(4), [[1, 2], [3], [4], [5]], (), "features must be numbers"),
        (metadata(1), np.array([[1.0, np.nan]]), (), r"first: row 1, feature 'feature_1' is NaN"),
        (metadata(1), np.array([[1.0, -1e300]]), (), r"first: row 1, feature 'feature_1' is infinite"),
        (metadata(1), np.array([[1.0, None]], dtype=object), (), r"first: row 1, feature 'feature_1' is NaN"),
    ],
)
def test_what_does_not_fit_is_refused(table: pd.DataFrame, values: Any, names: tuple[str, ...], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Profiles(table, values, names)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_value_that_is_not_finite_is_found(order: Any, value: float) -> None:
    values = np.asarray(features(5, 4), order=order)
    assert all_finite(values)
    for place in np.ndindex(values.shape):
        broken = values.copy(order="K")
        broken[place] = value
        assert not all_finite(broken)
    # Opposite infinities, and sums that overflow.
    values[0], values[1] = np.inf, -np.inf
    assert not all_finite(values)
    assert all_finite(np.full((5, 4), np.finfo(np.float32).max, order=order))


def test_groups_tell_sources_apart_and_batches_fall_back_on_plates() -> None:
    profiles = Profiles(metadata(), features())
    codes, names = profiles.groups("plate")
    assert [names[code] for code in codes] == ["plate P2", "plate P1", "plate P10", "plate P1"]
    assert profiles.groups("batch")[1] == names
    assert profiles.groups(None)[0].tolist() == [0, 0, 0, 0]
    apart = Profiles(metadata().assign(Metadata_Source=["s", "s", "s", "t"]), features())
    assert len(apart.groups("plate")[1]) == 4


def test_selected_wells_are_counted_by_reason() -> None:
    profiles = Profiles(metadata(), features())
    keep = np.array([True, False, True, True])
    some = profiles.select(keep, "too small").select(np.array([False, True, True]), "too small")
    assert some.dropped == {"too small": 2}
    assert some.metadata["Metadata_Plate"].tolist() == ["P10", "P1"]
    np.testing.assert_array_equal(some.features, features()[2:])
    assert profiles.select(np.ones(4, dtype=bool), "nothing") is profiles


# Files


def full() -> Profiles:
    return Profiles(
        metadata(),
        features(),
        ("f", "f.1", "10"),
        ({"step": "center", "n_fitted": 3},),
        {"marked empty": 2},
        ("a note",),
    )


def test_what_is_written_is_read_again_sorted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    full().write(path)
    back = Profiles.read(path)
    order = [3, 1, 2, 0]
    assert back.metadata["Metadata_Plate"].tolist() == ["P1", "P1", "P10", "P2"]
    assert back.metadata["Metadata_Well"].tolist() == ["A02", "B01", "A01", "A01"]
    np.testing.assert_array_equal(back.metadata["Metadata_dose"], [2.0, 1.0, np.nan, 0.5])
    np.testing.assert_array_equal(back.features, features()[order])
    assert back.feature_names == full().feature_names
    assert (back.steps, back.dropped, back.notes) == (full().steps, full().dropped, full().notes)


def test_the_file_is_zstd_float32_with_its_record(tmp_path: Path) -> None:
    full().write(tmp_path / "a.parquet")
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert {str(file.schema_arrow.field(name).type) for name in full().feature_names} == {"float"}
    group = file.metadata.row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
    record = json.loads(file.schema_arrow.metadata[PROVENANCE_KEY])
    roles = {role: ROLES[role] for role in full().roles}
    assert record == {"steps": [*full().steps], "dropped": full().dropped, "notes": [*full().notes], "roles": roles}


def test_the_same_profiles_are_the_same_bytes(tmp_path: Path) -> None:
    full().write(tmp_path / "a.parquet")
    Profiles.read(tmp_path / "a.parquet").write(tmp_path / "b.parquet")
    other = np.array([2, 0, 3, 1])
    one = full()
    Profiles(
        one.metadata.iloc[other],
        np.asfortranarray(one.features[other]),
        one.feature_names,
        one.steps,
        one.dropped,
        one.notes,
    ).write(tmp_path / "c.parquet")
    # Read back, a well has a pert_type as well; what was written from it is stable from then on.
    Profiles.read(tmp_path / "b.parquet").write(tmp_path / "d.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()
    assert (tmp_path / "b.parquet").read_bytes() == (tmp_path / "d.parquet").read_bytes()


def test_columns_can_be_named_when_reading(tmp_path: Path) -> None:
    metadata().assign(f=1.0, drug="x").to_csv(tmp_path / "a.csv", index=False)
    profiles = Profiles.read(str(tmp_path / "a.csv"), columns={"perturbation": "drug"})
    assert profiles.role("perturbation").tolist() == ["x"] * 4
    assert profiles.feature_names == ("f",)


@pytest.mark.parametrize(
    ("table", "names", "match"),
    [
        (metadata(), ("f", "g", "Metadata_h"), "feature 'Metadata_h' would be read as metadata"),
        (metadata().assign(Metadata_mixed=[1, "a", 2, 3]), (), r"metadata cannot be written \(.*values of one type"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(
    tmp_path: Path, table: pd.DataFrame, names: tuple[str, ...], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        Profiles(table, features(), names).write(tmp_path / "a.parquet")
    assert list(tmp_path.glob("*.parquet")) == []


def test_only_parquet_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv: profiles are written as parquet"):
        full().write(tmp_path / "a.csv")


def test_a_failing_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out" / "a.parquet"
    full().write(path)
    before = path.read_bytes()

    def fails(table: object, where: Path, **options: object) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", fails)
    with pytest.raises(InputError, match=r"cannot write .*a\.parquet: No space left on device"):
        full().write(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.parquet"]
