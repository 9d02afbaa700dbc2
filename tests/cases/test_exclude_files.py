"""Lists of bad wells as laboratories keep them, and conditions on columns under names of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import assert_refused, assert_score, command, make, replicates, run, write


@pytest.fixture(scope="module", name="table")
def with_counts() -> pd.DataFrame:
    table = make(seed=187)
    return table.assign(Metadata_Count_Cells=np.random.default_rng(188).integers(0, 200, len(table)))


BAD = [2, 17, 33, 40]


def rest(table: pd.DataFrame, out: pd.Series | np.ndarray) -> pd.DataFrame:
    return table[~np.asarray(out)].reset_index(drop=True)


@pytest.mark.parametrize("spelling", ["r{0:02d}c{1:02d}", "{2}-{1:02d}", "{3}{1}", "{2}{1:03d}", " {2}{1:02d} "])
def test_wells_of_the_file_may_be_spelled_in_another_way(spelling: str, table: pd.DataFrame) -> None:
    bad = table.iloc[BAD][["Metadata_Plate", "Metadata_Well"]]
    wells = [spelling.format(ord(w[0]) - 64, int(w[1:]), w[0], w[0].lower()) for w in bad["Metadata_Well"]]
    done = run(write(table, "table.csv"), f"--exclude-file {write(bad.assign(Metadata_Well=wells), 'bad.csv')}")
    assert_score(done, replicates(rest(table, table.index.isin(BAD))))


@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_names_of_columns_are_those_of_the_profiles(form: str, table: pd.DataFrame) -> None:
    named = table.rename(columns={"Metadata_Plate": "barcode", "Metadata_Well": "address"})
    bad = write(named.iloc[BAD][["barcode", "address"]], "bad.csv")
    options = "--column plate=barcode --column well=address"
    path = write(named, f"named.{form}")
    right = replicates(rest(table, table.index.isin(BAD)))
    assert_score(run(path, f"{options} --exclude-file {bad}"), right)
    one = f"barcode={table['Metadata_Plate'][2]},address={table['Metadata_Well'][2]}"
    assert_score(run(path, f'{options} --exclude "{one}"'), replicates(rest(table, table.index == 2)))


def test_names_under_a_prefix_are_those_of_the_profiles(table: pd.DataFrame) -> None:
    named = table.rename(columns={"Metadata_Plate": "Image_Metadata_Plate"})
    bad = write(named.iloc[BAD][["Image_Metadata_Plate", "Metadata_Well"]], "bad.csv")
    done = run(write(named, "named.csv"), f"--metadata-prefix Image_Metadata_ --exclude-file {bad}")
    assert_score(done, replicates(rest(table, table.index.isin(BAD))))


@pytest.mark.parametrize("form", ["utf-16", "semicolon", "bom", "blanks", "missing"])
def test_the_file_is_read_like_any_other_table(form: str, table: pd.DataFrame) -> None:
    text = table.iloc[BAD][["Metadata_Plate", "Metadata_Well"]].to_csv(index=False)
    if form == "semicolon":
        text = text.replace(",", ";")
    if form == "blanks":
        text = text.replace(",", " , ").replace("\n", " \n")
    if form == "missing":
        text = (
            text.replace("Metadata_Well", "Metadata_Well,Metadata_Batch").replace("\nQ", ",NA\nQ").replace(",NA", "", 1)
        )
        text = text.rstrip("\n") + ",NA\n"
    encoding = {"utf-16": "utf-16", "bom": "utf-8-sig"}.get(form, "utf-8")
    Path("bad.csv").write_text(text, encoding=encoding)
    done = run(write(table, "table.csv"), "--exclude-file bad.csv")
    assert_score(done, replicates(rest(table, table.index.isin(BAD))))


def test_a_row_twice_takes_its_well_once(table: pd.DataFrame) -> None:
    bad = table.iloc[[*BAD, *BAD]][["Metadata_Plate", "Metadata_Well"]]
    done = run(write(table, "table.parquet"), f"--exclude-file {write(bad, 'bad.csv')}")
    assert_score(done, replicates(rest(table, table.index.isin(BAD))))
    assert sum(done.dropped.values()) == len(BAD)


def test_files_and_conditions_add_up(table: pd.DataFrame) -> None:
    a = write(table.iloc[BAD[:2]][["Metadata_Plate", "Metadata_Well"]], "a.csv")
    b = write(pd.DataFrame({"Metadata_Perturbation": ["c01"]}), "b.parquet")
    options = f'--exclude-file {a} --exclude-file {b} --exclude "Metadata_Count_Cells<50,Metadata_Plate=Q3"'
    few = (table["Metadata_Count_Cells"] < 50) & (table["Metadata_Plate"] == "Q3")
    out = table.index.isin(BAD[:2]) | (table["Metadata_Perturbation"] == "c01") | few
    assert_score(run(write(table, "table.csv"), options), replicates(rest(table, out)))


@pytest.mark.parametrize("names", [("012", "12"), ("1E1", "10"), ("10.0", "10"), ("True", "1"), ("12:30", "12:30:00")])
@pytest.mark.parametrize("form", ["csv"])
def test_a_label_of_the_file_is_the_one_that_is_spelled_so(
    names: tuple[str, str], form: str, table: pd.DataFrame
) -> None:
    named = table.assign(
        Metadata_Perturbation=table["Metadata_Perturbation"].replace({"c00": names[0], "c01": names[1]})
    )
    bad = write(pd.DataFrame({"Metadata_Perturbation": [names[0]]}), f"bad.{form}")
    done = run(write(named, "named.csv"), f"--exclude-file {bad}")
    assert_score(done, replicates(rest(table, table["Metadata_Perturbation"] == "c00")))


def test_numbers_of_the_profiles_are_found_by_digits_of_the_file(table: pd.DataFrame) -> None:
    """A list of identifiers of 18 digits, kept as text, beside profiles with integers."""
    ids = [None if name == "DMSO" else 110000294999123400 + int(name[1:]) for name in table["Metadata_Perturbation"]]
    path = write(table.assign(Metadata_Perturbation=pd.array(ids, "Int64")), "ids.parquet")
    Path("bad.csv").write_text("Metadata_Perturbation\n110000294999123401\n")
    done = run(path, "--exclude-file bad.csv")
    assert_score(done, replicates(rest(table, table["Metadata_Perturbation"] == "c01")))


def test_a_feature_may_be_compared_without_ceasing_to_be_one_or_is_refused(table: pd.DataFrame) -> None:
    """A column of features named in a condition: excluded by, and one of two things, said."""
    done = run(write(table, "table.csv"), '--exclude "f0<-1"')
    kept = rest(table, table["f0"] < -1)
    with_it, without = replicates(kept), replicates(kept, X=kept[[f"f{i}" for i in range(1, 8)]].to_numpy())
    if done.code:
        assert_refused(done, "f0")
    elif done.result["model"]["n_features"] == 8:
        assert_score(done, with_it)
    else:
        assert_score(done, without)
        assert done.said("f0"), done.warnings


@pytest.mark.parametrize("command_name", ["normalize", "score"])
def test_other_commands_exclude_too(command_name: str, table: pd.DataFrame) -> None:
    bad = write(table.iloc[BAD][["Metadata_Plate", "Metadata_Well"]], "bad.csv")
    path = write(table, "table.csv")
    more: list[object] = ["--steps", "none", "--out", "out.parquet"]
    if command_name == "score":
        more = ["--task", "replicate-retrieval", "--model", "m", "--screen", "s", "--results", "scored"]
    done = command(command_name, path, *more, "--exclude-file", bad, "--exclude", "Metadata_Count_Cells<0.5")
    nothing = (table["Metadata_Count_Cells"] < 0.5).sum() == 0
    if nothing:
        assert_refused(done, "Metadata_Count_Cells")
    else:
        assert done.code == 0, done.output
