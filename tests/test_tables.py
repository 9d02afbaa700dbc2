"""One file at a time: what is a feature, what is metadata, and what values become."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from phenobench.errors import InputError
from phenobench.profiles.formats import ColumnRules, Table, is_profiles, parquet, read_table, separated
from phenobench.profiles.formats.h5ad import arrow_table
from phenobench.profiles.labels import spell


def read(path: Path, *roles: str) -> Table:
    return read_table(path, ColumnRules(metadata=frozenset(roles)))


def labels(table: Table, name: str) -> list[str | None]:
    """The labels of a metadata column."""
    return spell([table.metadata.column(name)]).tolist()


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metadata_Plate": ["P1", "P1", "P2"],
            "Metadata_Well": ["A01", "A02", "A01"],
            "f0": np.array([1.5, -2.0, 0.25], dtype=np.float32),
            "f1": np.array([4.0, 5.0, 6.0], dtype=np.float32),
        }
    )


def write(table: pd.DataFrame, path: Path, *, sparse_x: bool = False) -> Path:
    if path.name.endswith(".parquet"):
        table.to_parquet(path, index=False)
    elif path.name.endswith(".h5ad"):
        x = table[["f0", "f1"]].to_numpy()
        obs = table[["Metadata_Plate", "Metadata_Well"]].set_axis([f"row{i}" for i in range(len(table))])
        data = anndata.AnnData(sparse.csr_matrix(x) if sparse_x else x, obs, pd.DataFrame(index=["f0", "f1"]))
        data.write_h5ad(path)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.h5ad", "sparse.h5ad", "A.CSV", "A.Parquet"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    suffix = name.lower().removeprefix("a")
    written = write(frame(), tmp_path / f"written{suffix}", sparse_x=name == "sparse.h5ad")
    table = read(written.rename(tmp_path / name))
    assert table.feature_names == ("f0", "f1")
    assert table.features.dtype == np.float32
    np.testing.assert_array_equal(table.features, frame()[["f0", "f1"]].to_numpy())
    assert table.metadata.column_names == ["Metadata_Plate", "Metadata_Well"]
    assert labels(table, "Metadata_Plate") == ["P1", "P1", "P2"]


def test_a_large_file_is_read_in_parts_in_its_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((50, 3 * parquet._COLUMNS_AT_ONCE + 5)).astype(np.float32)
    names = [f"f{i}" for i in np.random.default_rng(1).permutation(values.shape[1])]
    path = tmp_path / "a.parquet"
    data = pd.DataFrame(values, columns=names).assign(Metadata_Plate="P")
    pq.write_table(pa.Table.from_pandas(data, preserve_index=False), path, row_group_size=7)
    table = read(path)
    assert table.feature_names == tuple(names)
    np.testing.assert_array_equal(table.features, values)


def test_numbers_of_every_kind_are_features(tmp_path: Path) -> None:
    table = pa.table(
        {
            "Metadata_Plate": ["P", "P"],
            "int": pa.array([1, None], pa.int64()),
            "bool": pa.array([True, None]),
            "half": pa.array(np.array([0.5, 1.5], dtype=np.float16)),
            "double": pa.array([1e300, 0.1]),
            "decimal": pa.array([None, 2], pa.decimal128(5, 2)),
            "null": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    nan, inf = np.nan, np.inf
    expected = np.array([[1, 1, 0.5, inf, nan, nan], [nan, nan, 1.5, 0.1, 2, nan]], dtype=np.float32)
    np.testing.assert_array_equal(read(tmp_path / "a.parquet").features, expected)


def test_numbers_that_a_csv_spells_its_own_way(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Metadata_Plate,a,b,c,d\nP, 1.5,NA,1e3,true\nP,2.5 ,2,inf,false\nP,,NaN,-1,true\n")
    nan = np.nan
    expected = [[1.5, nan, 1000, 1], [2.5, 2, np.inf, 0], [nan, nan, -1, 1]]
    np.testing.assert_array_equal(read(path).features, expected)


def test_a_column_with_a_role_is_no_feature(tmp_path: Path) -> None:
    path = write(frame().assign(score=[1, 2, 3]), tmp_path / "a.parquet")
    assert read(path).feature_names == ("f0", "f1", "score")
    table = read(path, "score")
    assert table.feature_names == ("f0", "f1")
    assert labels(table, "score") == ["1", "2", "3"]


@pytest.mark.parametrize("index", [None, "number"])
def test_an_index_of_pandas_is_no_feature(tmp_path: Path, index: str | None) -> None:
    table = frame().set_axis([5, 7, 9]).rename_axis(index)
    table.to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").feature_names == ("f0", "f1")


def test_an_index_of_pandas_in_a_csv_is_no_feature(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv").feature_names == ("f0", "f1")
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "b.csv")
    assert read(tmp_path / "b.csv").feature_names == ("f0", "f1")


def test_an_index_that_is_metadata_is_kept(tmp_path: Path) -> None:
    frame().set_index(["Metadata_Plate", "Metadata_Well"]).to_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert labels(table, "Metadata_Well") == ["A01", "A02", "A01"]
    assert table.feature_names == ("f0", "f1")


def test_names_with_dots_are_columns_of_their_own(tmp_path: Path) -> None:
    """pyarrow takes "f.1" for a part of "f" where it selects columns by name."""
    table = pd.DataFrame({"Metadata_P": ["x"], "f.1": [1.0], "f": [2.0], "f.1.2": [3.0], "Metadata_P.f": [4]})
    table.to_parquet(tmp_path / "a.parquet")
    read_back = read(tmp_path / "a.parquet")
    assert read_back.feature_names == ("f.1", "f", "f.1.2")
    assert read_back.features.tolist() == [[1.0, 2.0, 3.0]]
    assert read_back.metadata.column_names == ["Metadata_P", "Metadata_P.f"]


def test_metadata_of_any_kind_can_be_compared(tmp_path: Path) -> None:
    table = pa.table(
        {
            "Metadata_bytes": pa.array([b"a", None]),
            "Metadata_list": pa.array([["x", "y"], None]),
            "Metadata_category": pa.array(["k", "l"]).dictionary_encode(),
            "f": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    read_back = read(tmp_path / "a.parquet")
    assert labels(read_back, "Metadata_bytes") == ["a", None]
    assert labels(read_back, "Metadata_list") == ["x|y", None]
    assert labels(read_back, "Metadata_category") == ["k", "l"]


def test_metadata_that_begins_empty_in_a_long_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column's type is decided by the first block; what follows may be of another."""
    monkeypatch.setattr(separated, "_BLOCK", 200)
    rows = [f"P,,{i}" for i in range(100)] + ["P,negcon,1.5"]
    (tmp_path / "a.csv").write_text("Metadata_Plate,Metadata_type,f\n" + "\n".join(rows) + "\n")
    table = read(tmp_path / "a.csv")
    assert labels(table, "Metadata_type") == [None] * 100 + ["negcon"]
    assert table.features[-1, 0] == 1.5


def test_h5ad_of_integers_and_of_text(tmp_path: Path) -> None:
    obs = pd.DataFrame({"Metadata_Plate": ["P", "P"]}, index=["a", "b"])
    anndata.AnnData(np.array([[1, 2], [3, 4]]), obs).write_h5ad(tmp_path / "int.h5ad")
    table = read(tmp_path / "int.h5ad")
    assert table.features.tolist() == [[1, 2], [3, 4]]
    assert table.feature_names == ("0", "1")
    anndata.AnnData(obs=obs).write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(InputError, match="X is empty; store the features in X"):
        read(tmp_path / "none.h5ad")


def test_a_column_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Metadata_Plate,f,f\nP,1,2\n")
    arrays = [pa.array(["P"]), pa.array([1.0]), pa.array([2.0])]
    pq.write_table(pa.Table.from_arrays(arrays, ["Metadata_Plate", "f", "f"]), tmp_path / "a.parquet")
    data = anndata.AnnData(np.ones((1, 2)), pd.DataFrame({"Metadata_Plate": ["P"]}, index=["a"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.var_names = pd.Index(["f", "f"])
        data.write_h5ad(tmp_path / "a.h5ad")
    for name in ("a.csv", "a.parquet", "a.h5ad"):
        with pytest.raises(InputError, match=rf"{name}: the column 'f' occurs twice"):
            read(tmp_path / name)


def test_text_in_a_feature_names_column_and_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Metadata_Plate,f\nP, 1\nP,NA\nP,one\x1b\n")
    with pytest.raises(InputError, match=r"the feature column 'f' holds text \('one\?' in row 3\); .*--column"):
        read(tmp_path / "a.csv")
    frame().assign(f1=["x", "y", "z"]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"the feature column 'f1' holds text, not numbers"):
        read(tmp_path / "a.parquet")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("Metadata_Gène,f\nP,1\n".encode())
    assert labels(read(tmp_path / "a.csv"), "Metadata_Gène") == ["P"]
    (tmp_path / "b.csv").write_bytes("Metadata_Gene,f\ngène,1\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"b\.csv: the column 'Metadata_Gene' is not UTF-8 text"):
        read(tmp_path / "b.csv")


def test_a_wrong_suffix_for_compression_is_told(tmp_path: Path) -> None:
    text = frame().to_csv(index=False)
    (tmp_path / "a.csv").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match=r"a\.csv cannot be read .*its name should end in \.csv\.gz"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_text(text)
    with pytest.raises(InputError, match=r"a\.csv\.gz cannot be read .*its name should not end in \.gz"):
        read(tmp_path / "a.csv.gz")


@pytest.mark.parametrize("record", [b"[1]", b"{", b'{"steps": [1]}', b'{"dropped": {"a": "b"}}', b'{"notes": [3]}'])
def test_a_record_of_someone_else_is_refused(tmp_path: Path, record: bytes) -> None:
    table = pa.Table.from_pandas(frame(), preserve_index=False).replace_schema_metadata({b"phenobench": record})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="'phenobench' is not what phenobench writes"):
        read(tmp_path / "a.parquet")


def test_which_names_are_profiles() -> None:
    assert all(map(is_profiles, map(Path, ["a.parquet", "a.csv", "a.CSV.GZ", "a.h5ad"])))
    assert not any(map(is_profiles, map(Path, ["README.md", ".a.parquet", "a.gz", "parquet", "a.parquet.tmp"])))


def test_columns_in_memory_of_every_kind_have_labels() -> None:
    columns: dict[str, pd.Series[Any]] = {
        "period": pd.Series(pd.period_range("2024-01", periods=2, freq="M")),
        "interval": pd.Series(pd.interval_range(0, 2)),
        "sparse": pd.Series(pd.arrays.SparseArray(np.array([0.5, 2.0]))),
        "complex": pd.Series([1 + 2j, 2j]),
        "mixed": pd.Series(["a", 1], dtype=object),
        "codes": pd.Series(pd.Categorical([7, None], categories=[7, 8])),
    }
    table = arrow_table(columns)
    assert {name: spell([table.column(name)]).tolist() for name in columns} == {
        "period": ["2024-01", "2024-02"],
        "interval": ["(0, 1]", "(1, 2]"],
        "sparse": ["0.5", "2.0"],
        "complex": ["(1+2j)", "2j"],
        "mixed": ["a", "1"],
        "codes": ["7", None],
    }
