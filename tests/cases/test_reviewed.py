"""What a second reading of the code found: each a value that was wrong without a word, with what is right."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenobench.errors import InputError
from phenobench.profiles import Profiles
from phenobench.profiles.reading import Reading, read_profiles


def base(plate: str = "P1", **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metadata_Plate": [plate] * 4,
            "Metadata_Well": ["A01", "A02", "A03", "A04"],
            "Metadata_Perturbation": ["c0", "c0", "c1", "c1"],
            **columns,
            "f_1": [0.1, 0.2, 0.3, 0.45],
            "f_2": [1.0, -1.0, 2.0, 0.5],
        }
    )


def read(tmp_path: Path, *tables: pd.DataFrame, suffix: str = "parquet", **how: Any) -> Profiles:
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    for number, table in enumerate(tables):
        path = folder / f"{number}.{suffix}"
        table.to_parquet(path, index=False) if suffix == "parquet" else table.to_csv(path, index=False)
    return read_profiles([str(folder)], Reading(**how))


def test_a_condition_on_the_well_holds_in_all_spellings(tmp_path: Path) -> None:
    short = base("P2", Metadata_Well=["A1", "A2", "A3", "A4"])
    assert len(read(tmp_path, base(), short, exclude=("Metadata_Well=A01",))) == 6
    (tmp_path / "bad.csv").write_text("Metadata_Well\nA01\n")
    assert len(read(tmp_path, base(), short, exclude_files=(tmp_path / "bad.csv",))) == 6


def test_what_only_python_takes_for_a_number_is_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'f_tile' holds text \('1_1' in row 1\)"):
        read(tmp_path, base(f_tile=["1_1", "1_2", "2_1", "12_3"]), suffix="csv")


def test_commas_that_divide_thousands_are_no_decimal_ones(tmp_path: Path) -> None:
    table = base(f_3=["1,234", "2,345", "999", "12,000"], Metadata_place="1,2")
    path = tmp_path / "a.tsv"
    table.to_csv(path, index=False, sep="\t")
    with pytest.raises(InputError, match=r"'f_3' has numbers such as 1,234 and 'f_1' such as 0\.1"):
        read_profiles([str(path)], Reading())
    table.drop(columns="f_3").to_csv(path, index=False, sep="\t")
    found = read_profiles([str(path)], Reading())
    assert not any("comma" in note for note in found.notes)
    np.testing.assert_array_equal(found.features[:, 0], np.array([0.1, 0.2, 0.3, 0.45], np.float32))


def test_decimals_keep_all_of_their_digits(tmp_path: Path) -> None:
    names = ["12345678901234567890", "12345678901234567891", "2.50", "10.00"]
    table = pa.Table.from_pandas(base(), preserve_index=False)
    column = pa.array(list(map(Decimal, names)), pa.decimal128(38, 10))
    pq.write_table(table.set_column(2, "Metadata_Perturbation", column), tmp_path / "a.parquet")
    labels = read_profiles([str(tmp_path / "a.parquet")], Reading()).role("perturbation").tolist()
    assert labels == ["12345678901234567890", "12345678901234567891", "2.5", "10"]


def test_a_moment_is_one_label_in_all_files(tmp_path: Path) -> None:
    day, later = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02 08:00")
    found = read(tmp_path, base(Metadata_Batch=day), base("P2", Metadata_Batch=day), base("P3", Metadata_Batch=later))
    assert found.role("batch").unique().tolist() == ["2024-01-01 00:00:00", "2024-01-02 08:00:00"]


def test_only_a_value_that_a_well_has_becomes_its_perturbation(tmp_path: Path) -> None:
    table = base(Metadata_Perturbation=["c0", "c1", None, None], Metadata_conc=[1, 5, 0, 0])
    for condition in ("Metadata_conc<0.5", "Metadata_conc!=1,Metadata_conc!=5"):
        found = read(tmp_path, table, negcon=(condition,))
        assert found.role("perturbation").isna().tolist() == [False, False, True, True]
        assert found.negative_controls.tolist() == [False, False, True, True]


def test_metadata_are_written_as_they_were(tmp_path: Path) -> None:
    large = [123456789012345678, 123456789012345679, 123456789012345680, 123456789012345681]
    found = read(tmp_path, base(Metadata_ID=large), base("P2"))
    found.write(tmp_path / "out.parquet")
    again = read_profiles([str(tmp_path / "out.parquet")], Reading(columns={"perturbation": "Metadata_ID"}))
    assert again.role("perturbation").dropna().tolist() == list(map(str, large))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_whole_numbers_beside_a_gap_stay_whole(tmp_path: Path, suffix: str) -> None:
    column = pd.array([1017, None, 5, 7], dtype="Int32")
    read(tmp_path, base(Metadata_Entrez=column), suffix=suffix).write(tmp_path / "out.parquet")
    again = read_profiles([str(tmp_path / "out.parquet")], Reading(columns={"perturbation": "Metadata_Entrez"}))
    assert again.role("perturbation").tolist() == ["1017", None, "5", "7"]


def test_roles_of_several_written_files_are_joined_one_by_one(tmp_path: Path) -> None:
    own = {"Metadata_Plate": ["map1"] * 4, "Metadata_Symbol": ["own"] * 4}
    one = base().assign(**own, Metadata_Barcode="X1")
    two = base().assign(**own, Metadata_Barcode="X2", Metadata_gg="G")
    columns = {"plate": "Metadata_Barcode"}
    (tmp_path / "in").mkdir()
    one.drop(columns="Metadata_Symbol").to_parquet(tmp_path / "in" / "1.parquet", index=False)
    two.to_parquet(tmp_path / "in" / "2.parquet", index=False)
    (tmp_path / "out").mkdir()
    read_profiles([str(tmp_path / "in" / "1.parquet")], Reading(columns=columns)).write(tmp_path / "out" / "1.parquet")
    how = Reading(columns={**columns, "gene": "Metadata_gg"})
    read_profiles([str(tmp_path / "in" / "2.parquet")], how).write(tmp_path / "out" / "2.parquet")
    found = read_profiles([str(tmp_path / "out")], Reading())
    assert found.role("plate").unique().tolist() == ["X1", "X2"]
    assert found.role("gene").dropna().unique().tolist() == ["G"]
    assert found.metadata["Metadata_Plate (own)"].unique().tolist() == ["map1"]


def test_integers_here_and_floats_there_are_spelled_alike(tmp_path: Path) -> None:
    one, two = base(Metadata_Perturbation=[1, 2, 1, 2]), base("P2", Metadata_Perturbation=[1.0, 3.0, np.nan, 3.0])
    assert set(read(tmp_path, one, two).role("perturbation").dropna()) == {"1", "2", "3"}


def test_a_feature_that_was_kept_stays_one(tmp_path: Path) -> None:
    table = base(Cells_Count=[1, 2, 3, 4])
    found = read(tmp_path, table, keep_features=("Cells_Count",))
    assert "Cells_Count" in found.feature_names
    found.write(tmp_path / "out.parquet")
    assert Profiles.read(tmp_path / "out.parquet").feature_names == found.feature_names


def test_a_named_index_is_metadata(tmp_path: Path) -> None:
    base(molecule=["a", "b", "c", "d"]).set_index("molecule").to_parquet(tmp_path / "a.parquet")
    found = Profiles.read(tmp_path / "a.parquet")
    assert found.metadata["molecule"].tolist() == ["a", "b", "c", "d"]
    assert found.feature_names == ("f_1", "f_2")


def test_labels_that_are_missing_in_a_spreadsheet_are_missing(tmp_path: Path) -> None:
    found = read(tmp_path, base(Metadata_Perturbation=["#N/A", "n/a", "c1", "c1"]), suffix="csv")
    assert found.role("perturbation").isna().tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sep=;\nMetadata_Plate;f_1\nP;1\n", "its first line ('sep=;') is no header"),
        ("# made by us\nMetadata_Plate,f_1\nP,1\n", "its first line ('# made by us') is no header"),
    ],
)
def test_lines_before_the_header_are_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        Profiles.read(tmp_path / "a.csv")
    assert said in str(caught.value)


def test_profiles_are_normalized_twice_with_the_same_options(tmp_path: Path) -> None:
    how: dict[str, Any] = {"columns": {"perturbation": "Metadata_Compound"}}
    table = base(Metadata_Compound=["k0", "k0", "k1", "k1"])
    read(tmp_path, table, **how).write(tmp_path / "once.parquet")
    read_profiles([str(tmp_path / "once.parquet")], Reading(**how)).write(tmp_path / "twice.parquet")
    again = Profiles.read(tmp_path / "twice.parquet")
    assert again.role("perturbation").tolist() == ["k0", "k0", "k1", "k1"]
    written = pq.read_table(tmp_path / "twice.parquet").to_pandas()
    assert written["Metadata_Perturbation"].tolist() == ["c0", "c0", "c1", "c1"]
    assert written["Metadata_Compound"].tolist() == ["k0", "k0", "k1", "k1"]


def test_identifiers_of_an_extension_type_are_spelled(tmp_path: Path) -> None:
    names = pa.array([bytes([number] * 16) for number in range(4)], pa.binary(16)).cast(pa.uuid())
    table = pa.Table.from_pandas(base(), preserve_index=False).append_column("Metadata_uid", names)
    pq.write_table(table, tmp_path / "a.parquet")
    assert Profiles.read(tmp_path / "a.parquet").metadata["Metadata_uid"].nunique() == 4


def test_a_number_takes_no_code_for_its_spelling(tmp_path: Path) -> None:
    base(Metadata_Perturbation=[10, 10, 20, 20]).to_parquet(tmp_path / "a.parquet", index=False)
    base("P2", Metadata_Perturbation=["1E1", "1E1", "2E1", "2E1"]).to_csv(tmp_path / "b.csv", index=False)
    found = read_profiles([str(tmp_path)], Reading())
    assert sorted(found.role("perturbation").unique()) == ["10", "1E1", "20", "2E1"]


def test_plates_of_two_sources_are_never_one(tmp_path: Path) -> None:
    one, two = base("2", Metadata_Source="s/1"), base("1/2", Metadata_Source="s")
    codes, names = read(tmp_path, one, two).groups("plate")
    assert len(names) == len(set(codes.tolist())) == 2


def test_a_condition_makes_controls_of_what_it_names_alone(tmp_path: Path) -> None:
    table = base(Metadata_Dose=[0, 1, 1, 1])
    found = read(tmp_path, table, negcon=("Metadata_Dose=0",))
    assert found.negative_controls.tolist() == [True, False, False, False]
    assert any("c0 is a negative control in 1 wells and treated in 1" in note for note in found.notes)


def test_of_several_terms_none_is_a_name(tmp_path: Path) -> None:
    table = base(Metadata_Perturbation=["c0", "c1", None, None], Metadata_Kind=["a", "a", "x", "x"])
    found = read(tmp_path, table, label=("Metadata_Plate=P1,Metadata_Kind=x:trt",))
    assert found.role("perturbation").isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("kind", ["int32", "int64", "uint32"])
def test_large_whole_numbers_keep_what_varies(tmp_path: Path, kind: str) -> None:
    values = np.array([100, 350, -20, 415])
    found = read(tmp_path, base(f_3=(2_000_000_000 + values).astype(kind)))
    assert found.exact is not None
    np.testing.assert_array_equal(found.exact[:, found.feature_names.index("f_3")] - 2e9, values)
    assert not any("as float32" in note for note in found.notes)


@pytest.mark.parametrize(
    "name",
    [
        *["Concentration (\u00b5M)", "dose_\u03bcM", "compound_concentration", "mmoles_per_liter"],
        *["hours_post_treatment", "total_cell_count", "cells_per_well", "n_cells", "site_number"],
        *["Group_Index", "ImageSet_ImageSet"],
    ],
)
def test_what_a_well_got_is_no_feature(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, base().assign(**{name: [1.0, 2.0, 3.0, 4.5]}))
    assert found.feature_names == ("f_1", "f_2")
    assert any(name in note for note in found.notes)


@pytest.mark.parametrize("name", ["Cells", "Nuclei_Texture_Count_DNA", "IDS", "Ids", "TARGET2", "MT-ND1", "value"])
def test_what_is_measured_is_a_feature(tmp_path: Path, name: str) -> None:
    assert name in read(tmp_path, base().assign(**{name: [1.0, 2.0, 3.0, 4.5]})).feature_names


def test_neither_the_order_of_files_nor_of_rows_matters(tmp_path: Path) -> None:
    one = base(Metadata_Target=["A|B", "B|A", None, None])
    other = base("P2", Metadata_Target=[None] * 4)[[*reversed(base(Metadata_Target="").columns)]]
    for number, table in enumerate((one, other)):
        table.to_parquet(tmp_path / f"{number}.parquet", index=False)
    one.iloc[::-1].to_parquet(tmp_path / "2.parquet", index=False)
    paths = [str(tmp_path / f"{number}.parquet") for number in range(3)]
    first, second = read_profiles(paths[:2], Reading()), read_profiles(paths[1::-1], Reading())
    assert first.feature_names == second.feature_names
    assert first.role("target").tolist() == second.role("target").tolist()
    turned = read_profiles([paths[2], paths[1]], Reading())
    filled = turned.metadata.loc[turned.role("plate") == "P2", "Metadata_Target"]
    assert filled.tolist() == first.metadata.loc[first.role("plate") == "P2", "Metadata_Target"].tolist()
