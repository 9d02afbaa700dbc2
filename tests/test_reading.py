"""From files to profiles: joining, roles, controls, exclusions, missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.profiles import Profiles
from phenobench.profiles.missing import NAN_POLICIES, NanPolicy
from phenobench.profiles.reading import Reading, read_profiles


def frame(plate: object = "P1", n: int = 4, **columns: Any) -> pd.DataFrame:
    """A plate of ``n`` wells: the last two are controls."""
    values = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
    metadata = {
        "Metadata_Plate": [plate] * n,
        "Metadata_Well": [f"A{i + 1:02d}" for i in range(n)],
        "Metadata_Perturbation": [*[f"g{i}" for i in range(n - 2)], "DMSO", "DMSO"],
        "Metadata_pert_type": [*["trt"] * (n - 2), "negcon", "negcon"],
    }
    return pd.DataFrame({**metadata, **columns, **{f"f{i}": values[:, i] for i in range(3)}})


def read(table: pd.DataFrame, folder: Path, **how: Any) -> Profiles:
    path = folder / "table.parquet"
    table.to_parquet(path, index=False)
    return read_profiles([str(path)], Reading(**how))


def refused(table: pd.DataFrame, folder: Path, match: str, **how: Any) -> None:
    with pytest.raises(InputError, match=match):
        read(table, folder, **how)


# Several files


def test_a_folder_a_glob_and_a_list_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame("P1").to_parquet(tmp_path / "1.parquet")
    frame("P2").to_csv(tmp_path / "2.csv", index=False)
    frame("P3").to_csv(tmp_path / "3.csv.gz", index=False)
    (tmp_path / "README.md").write_text("not profiles")
    (tmp_path / "._3.csv").write_text("not profiles either")
    monkeypatch.chdir(tmp_path)
    names = ["1.parquet", "2.csv", "3.csv.gz"]
    whole = read_profiles(names, Reading())
    assert whole.metadata["Metadata_Plate"].tolist() == ["P1"] * 4 + ["P2"] * 4 + ["P3"] * 4
    for given in ([str(tmp_path)], ["*"], [f"{tmp_path}/[123].*"], [*names, "./2.csv", str(tmp_path / "1.parquet")]):
        other = read_profiles(given, Reading())
        pd.testing.assert_frame_equal(other.metadata, whole.metadata)
        np.testing.assert_array_equal(other.features, whole.features)


def test_features_that_all_files_have_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    one, two = (
        frame("P1").assign(only=1.0),
        frame("P2").rename(columns={"f1": "g1"})[
            ["f2", "Metadata_Well", "Metadata_Plate", "g1", "f0", "Metadata_Perturbation"]
        ],
    )
    one.to_parquet(tmp_path / "1.parquet")
    two.to_parquet(tmp_path / "2.parquet")
    profiles = read_profiles([str(tmp_path)], Reading())
    assert profiles.feature_names == ("f0", "f2")
    assert profiles.notes[0] == "3 of 5 features are not in all files and were left out ('f1', 'g1', 'only')"
    expected = np.concatenate([one[["f0", "f2"]].to_numpy(), two[["f0", "f2"]].to_numpy()])
    np.testing.assert_array_equal(profiles.features, expected)
    # What the second file lacks is missing there, and its DMSO is the first one's.
    assert profiles.negative_controls.tolist() == [False, False, True, True] * 2
    assert "2 wells without a type are of DMSO" in profiles.notes[1]


def test_no_feature_in_common_is_refused(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "1.parquet")
    frame("P2").rename(columns={f"f{i}": f"g{i}" for i in range(3)}).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"1\.parquet and 1 more: the files have no feature in common"):
        read_profiles([str(tmp_path)], Reading())


def test_numbers_and_text_in_one_column_across_files_are_labels(tmp_path: Path) -> None:
    """A plate 7 is the plate "7", be it stored as an integer, a float beside a gap, or text."""
    frame(7, Metadata_note=1).to_parquet(tmp_path / "1.parquet")
    frame("7", Metadata_note="x", Metadata_Well=["B1", "B2", "B3", "B4"]).to_parquet(tmp_path / "2.parquet")
    gap = frame(7.0, n=5, Metadata_note=2.5, Metadata_Well=["C1", "C2", "C3", "C4", "C5"])
    gap.loc[4, "Metadata_Plate"] = np.nan
    gap.to_parquet(tmp_path / "3.parquet")
    profiles = read_profiles([str(tmp_path)], Reading(exclude=("Metadata_Plate=",)))
    assert set(profiles.metadata["Metadata_Plate"]) == {"7"}
    assert profiles.metadata["Metadata_note"].tolist() == ["1"] * 4 + ["x"] * 4 + ["2.5"] * 4
    profiles.write(tmp_path / "joined.parquet")
    frame("7").to_parquet(tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet: row 1: well A01 of plate 7 is there .*1\.parquet: row 1"):
        read_profiles([str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")], Reading())


def test_rows_are_counted_in_their_own_file(tmp_path: Path) -> None:
    frame("P1").to_parquet(tmp_path / "1.parquet")
    wells = ["A1", "A2", "well", "A4"]
    frame("P2", Metadata_Well=wells).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet: row 3: 'well' is no well name"):
        read_profiles([str(tmp_path)], Reading(exclude=("Metadata_Perturbation=g0",)))


@pytest.mark.parametrize("given", ["absent.parquet", "*.parquet", "", " ", "[", "a\0b", "x" * 5000])
def test_where_there_is_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    frame().to_csv("a.csv", index=False)
    with pytest.raises(InputError, match=r"no file of profiles (is there|can be there)"):
        read_profiles([given], Reading())


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no file of profiles was named"):
        read_profiles([], Reading())


# Roles


def test_foreign_prefixes_and_names_become_ours(tmp_path: Path) -> None:
    table = frame().rename(
        columns={"Metadata_Plate": "Image_Metadata_Plate", "Metadata_Well": "Image_Metadata_Well", "f2": "compound"}
    )
    table = table.drop(columns=["Metadata_Perturbation", "Metadata_pert_type"]).assign(Image_Metadata_Metadata_x=1)
    profiles = read(
        table,
        tmp_path,
        prefixes=("Image_Metadata_",),
        columns={"perturbation": "compound", "batch": "Image_Metadata_Plate"},
    )
    roles = {f"Metadata_{name}" for name in ("Plate", "Well", "Batch", "Perturbation", "pert_type")}
    own = {"Image_Metadata_Plate", "Image_Metadata_Well", "compound", "Image_Metadata_Metadata_x"}
    assert set(profiles.metadata) == roles | own
    assert profiles.metadata["Metadata_Batch"].tolist() == ["P1"] * 4
    assert profiles.feature_names == ("f0", "f1")


def test_a_role_can_be_given_under_our_own_name_too(tmp_path: Path) -> None:
    table = frame().rename(columns=lambda name: name.replace("Metadata_", "Image_Metadata_"))
    how = {"prefixes": ("Image_Metadata_",), "negcon": ("Metadata_Perturbation=g0",)}
    profiles = read(table, tmp_path, columns={"batch": "Metadata_Plate"}, **how)
    assert profiles.metadata["Metadata_Batch"].tolist() == ["P1"] * 4
    assert profiles.negative_controls.tolist() == [True, False, True, True]


def test_roles_can_be_exchanged(tmp_path: Path) -> None:
    table = frame(Metadata_Symbol=["s0", "s1", "s2", "s3"])
    columns = {"perturbation": "Metadata_Symbol", "gene": "Metadata_Perturbation"}
    profiles = read(table, tmp_path, columns=columns)
    assert profiles.role("perturbation").tolist() == ["s0", "s1", "s2", "s3"]
    assert profiles.role("gene").tolist() == ["g0", "g1", "DMSO", "DMSO"]


def test_two_columns_can_play_a_role_together(tmp_path: Path) -> None:
    table = frame(drug=["x", "x", "y", ""], dose=[0.1, 2.0, np.nan, np.nan])
    profiles = read(table, tmp_path, columns={"perturbation": "drug,dose"})
    assert profiles.role("perturbation").tolist() == ["x,0.1", "x,2.0", "y", None]
    assert profiles.feature_names == ("f0", "f1", "f2")
    with_comma = table.rename(columns={"drug": "drug,dose"})
    assert read(with_comma, tmp_path, columns={"gene": "drug,dose"}).role("gene").tolist() == ["x", "x", "y", None]
    refused(table, tmp_path, "no column 'dos'", columns={"perturbation": "drug,dos"})


def test_a_column_with_a_role_is_never_a_feature(tmp_path: Path) -> None:
    profiles = read(frame(number=[3, 4, 5, 6]), tmp_path, columns={"gene": "number"})
    assert profiles.feature_names == ("f0", "f1", "f2")
    assert profiles.role("gene").tolist() == ["3", "4", "5", "6"]


def test_annotations_of_anndata_need_no_prefix(tmp_path: Path) -> None:
    obs = pd.DataFrame({"Plate": ["P", "P"], "Well": ["a1", "a2"], "drug": ["x", "y"]}, index=["0", "1"])
    anndata.AnnData(np.eye(2), obs).write_h5ad(tmp_path / "a.h5ad")
    profiles = read_profiles([str(tmp_path / "a.h5ad")], Reading(columns={"perturbation": "drug"}))
    assert profiles.metadata["Metadata_Well"].tolist() == ["A01", "A02"]
    assert profiles.role("perturbation").tolist() == ["x", "y"]


def test_unknown_roles_and_columns_are_named(tmp_path: Path) -> None:
    refused(frame(), tmp_path, "unknown role 'plat'; did you mean plate", columns={"plat": "Metadata_Plate"})
    refused(
        frame(), tmp_path, "no column 'Metadata_x'; metadata columns: Metadata_Plate", columns={"gene": "Metadata_x"}
    )


def test_a_derived_column_needs_its_origin_and_never_replaces_one(tmp_path: Path) -> None:
    how: dict[str, Any] = {
        "derive": {"Metadata_gene": ("Metadata_allele", "^([^_]+)_")},
        "columns": {"gene": "Metadata_gene"},
    }
    table = frame(Metadata_allele=["KRAS_p.G12D", "EGFR_wt", "EMPTY", None])
    assert read(table, tmp_path, **how).role("gene").tolist() == ["KRAS", "EGFR", None, None]
    given = table.assign(Metadata_gene="given")
    assert read(given, tmp_path, **how).role("gene").tolist() == ["given"] * 4
    refused(frame(), tmp_path, "no column 'Metadata_allele'", **how)


# Labels


@pytest.mark.parametrize("blank", ["", " ", "\u00a0", "nan", "NaN", "NA", "None", "<NA>", None])
def test_what_is_blank_is_missing(tmp_path: Path, blank: str | None) -> None:
    profiles = read(frame(Metadata_Perturbation=["g0", blank, "DMSO", "DMSO"]), tmp_path)
    assert profiles.role("perturbation").isna().tolist() == [False, True, False, False]


def test_blanks_around_labels_make_no_difference(tmp_path: Path) -> None:
    names = ["g0", " g0", "g0\u00a0", "g\u00a00"]
    profiles = read(frame(Metadata_Perturbation=names), tmp_path, negcon=("Metadata_Perturbation=g\u00a00 ",))
    assert profiles.role("perturbation").tolist() == ["g0", "g0", "g0", "g\u00a00"]
    assert profiles.negative_controls.tolist() == [False, False, True, True]


@pytest.mark.parametrize("value", ["0.5", "0.50", "5e-1"])
def test_a_number_is_matched_as_a_number(tmp_path: Path, value: str) -> None:
    profiles = read(frame(Metadata_dose=[0.5, 1.0, 0.5, 2.0]), tmp_path, exclude=(f"Metadata_dose={value}",))
    assert profiles.metadata["Metadata_dose"].tolist() == [1.0, 2.0]


def test_whole_numbers_match_with_and_without_a_point(tmp_path: Path) -> None:
    for column in ([1, 2, 3, 4], [1.0, 2.0, 3.0, None]):
        for value in ("1", "1.0"):
            assert len(read(frame(Metadata_n=column), tmp_path, exclude=(f"Metadata_n={value}",))) == 3


def test_controls_are_those_named_and_those_typed(tmp_path: Path) -> None:
    profiles = read(frame(), tmp_path, negcon=("Metadata_Perturbation=g0",))
    assert profiles.negative_controls.tolist() == [True, False, True, True]
    without = frame().drop(columns="Metadata_pert_type")
    assert not read(without, tmp_path).negative_controls.any()
    profiles = read(without, tmp_path, negcon=("Metadata_Perturbation=g0", "Metadata_Well=A04"))
    assert profiles.negative_controls.tolist() == [True, False, False, True]
    assert any("DMSO is a negative control in 1 wells and treated in 1" in note for note in profiles.notes)


def test_a_label_gives_a_type_and_fills_an_empty_perturbation(tmp_path: Path) -> None:
    table = frame(Metadata_Perturbation=["g0", None, "", "DMSO"], Metadata_kind=["a", "b", "c:d", "c:d"])
    profiles = read(table, tmp_path, label=("Metadata_kind=b:poscon", "Metadata_kind=c:d:negcon"))
    assert profiles.role("perturbation").tolist() == ["g0", "b", "c:d", "DMSO"]
    assert profiles.role("pert_type").tolist() == ["trt", "poscon", "negcon", "negcon"]


def test_types_are_known_in_any_case_and_others_counted(tmp_path: Path) -> None:
    types = ["control", "Negcon", "negcon_b", "trt_oe"]
    profiles = read(frame(Metadata_pert_type=types), tmp_path)
    assert profiles.role("pert_type").tolist() == ["trt", "negcon", "trt", "trt"]
    assert profiles.notes[:2] == (
        "1 wells of Metadata_pert_type 'control' are taken as treated",
        "1 wells of Metadata_pert_type 'negcon_b' are taken as treated",
    )
    named = read(frame(Metadata_pert_type=types), tmp_path, negcon=("Metadata_pert_type=control",))
    assert named.role("pert_type").tolist() == ["negcon", "negcon", "trt", "trt"]
    assert not any("'control'" in note for note in named.notes)


def test_exclusions_are_counted_each_well_once(tmp_path: Path) -> None:
    conditions = ("Metadata_Perturbation=g0", "Metadata_pert_type=trt", "Metadata_Well=A04")
    profiles = read(frame(), tmp_path, exclude=conditions)
    assert profiles.dropped == dict(zip([f"excluded {text}" for text in conditions], [1, 1, 1], strict=True))
    assert profiles.metadata["Metadata_Well"].tolist() == ["A03"]
    assert profiles.metadata.index.tolist() == [0]


def test_an_excluded_row_may_be_wrong(tmp_path: Path) -> None:
    table = frame(Metadata_Well=["A01", "A01", None, "nowhere"])
    table.loc[0, "f0"] = np.nan
    conditions = ("Metadata_Perturbation=g0", "Metadata_Well=", "Metadata_Well=nowhere")
    assert len(read(table, tmp_path, exclude=conditions)) == 1


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"negcon": ("DMSO",)}, "'DMSO' is no condition; write Column=Value"),
        ({"exclude": ("Metadata_x=1",)}, "no column 'Metadata_x'"),
        ({"negcon": ("Metadata_Perturbation=DMS",)}, r"no well has .* = 'DMS'; its values are DMSO \(2\), g0 \(1\)"),
        ({"exclude": ("Metadata_Perturbation=",)}, r"no well has Metadata_Perturbation = ''"),
        ({"label": ("Metadata_Perturbation=g0",)}, "is no label; write Column=Value:type"),
        ({"label": ("Metadata_Perturbation=g0:control",)}, "type one of trt, negcon, poscon, empty"),
        ({"exclude": ("Metadata_Plate=P1",)}, "no well is left after the exclusions"),
    ],
)
def test_conditions_that_cannot_be_met(tmp_path: Path, how: dict[str, Any], match: str) -> None:
    refused(frame(), tmp_path, match, **how)


# Wells


def test_one_row_a_well(tmp_path: Path) -> None:
    table = frame(Metadata_Well=["A1", "A2", "a01", "A3"])
    refused(table, tmp_path, r"row 3: well A01 of plate P1 is there already \(.*row 1\)")
    apart = table.assign(Metadata_Source=["s1", "s1", "s2", "s2"])
    assert len(read(apart, tmp_path)) == 4
    refused(frame(Metadata_Plate=["P1", " ", "P1", "P1"]), tmp_path, "row 2 has no plate")


def test_texts_have_no_wells(tmp_path: Path) -> None:
    table = frame()[["Metadata_Perturbation", "f0", "f1"]]
    assert len(read(table, tmp_path, wells=False)) == 4


# Missing values


def holes() -> pd.DataFrame:
    table = frame()
    table.loc[1, "f0"] = np.nan
    table.loc[3, "f2"] = -np.inf
    return table


def test_missing_values_are_refused_by_row_and_column(tmp_path: Path) -> None:
    refused(holes(), tmp_path, r"table\.parquet: row 2, feature 'f0' is NaN \(2 .*2 wells and 2 features\); use --nan")
    conditions = ("Metadata_Perturbation=g1",)
    refused(holes(), tmp_path, r"row 4, feature 'f2' is infinite", exclude=conditions)


def test_features_or_wells_with_missing_values_are_left_out(tmp_path: Path) -> None:
    profiles = read(holes(), tmp_path, nan="drop-features")
    assert profiles.feature_names == ("f1",)
    assert profiles.notes == ("2 features with NaN or infinite values were left out",)
    np.testing.assert_array_equal(profiles.features[:, 0], frame()["f1"])

    profiles = read(holes(), tmp_path, nan="drop-wells")
    assert profiles.metadata["Metadata_Well"].tolist() == ["A01", "A03"]
    assert profiles.dropped == {"NaN or infinite features": 2}
    np.testing.assert_array_equal(profiles.features, frame()[["f0", "f1", "f2"]].to_numpy()[[0, 2]])


@pytest.mark.parametrize("policy", NAN_POLICIES)
def test_a_policy_changes_nothing_where_nothing_is_missing(tmp_path: Path, policy: NanPolicy) -> None:
    profiles = read(frame(), tmp_path, nan=policy)
    assert (profiles.notes, profiles.dropped) == ((), {})
    np.testing.assert_array_equal(profiles.features, frame()[["f0", "f1", "f2"]].to_numpy())


def test_a_policy_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    refused(
        frame().assign(f1=np.nan),
        tmp_path,
        "every well has .*'f1' are missing in all wells.*use --nan drop, which leaves out 1 of 3 features",
        nan="drop-wells",
    )
    table = frame()
    table.loc[0, ["f0", "f1", "f2"]] = np.nan
    refused(table, tmp_path, "every feature is .*use --nan drop, which leaves out 1 of 4 wells", nan="drop-features")


def test_large_values_are_no_missing_ones(tmp_path: Path) -> None:
    """Their sum is beyond float32, the values are not."""
    profiles = read(frame().assign(f0=np.float32(3e38)), tmp_path)
    assert profiles.features[:, 0].tolist() == [np.float32(3e38)] * 4
    refused(frame().assign(f0=1e39), tmp_path, "row 1, feature 'f0' is infinite as float32")


# The record


def test_the_record_of_several_files_is_joined(tmp_path: Path) -> None:
    step = {"step": "center", "n_fitted": 4}
    for i, steps in enumerate([(step,), (step,)]):
        table = frame(f"P{i}")
        metadata, features = table.iloc[:, :4], table.iloc[:, 4:].to_numpy()
        Profiles(metadata, features, (), steps, {"empty": 2}, (f"note {i}", "both")).write(tmp_path / f"{i}.parquet")
    joined = read_profiles([str(tmp_path)], Reading(exclude=("Metadata_Well=A01",)))
    assert joined.steps == (step,)
    assert joined.dropped == {"empty": 4, "excluded Metadata_Well=A01": 2}
    assert joined.notes == ("note 0", "both", "note 1")

    Profiles(metadata, features, ()).write(tmp_path / "1.parquet")
    assert read_profiles([str(tmp_path)], Reading()).steps == ()
