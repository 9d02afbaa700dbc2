"""Wells that are left out are named on request, whatever they come from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.profiles import Profiles
from phenobench.profiles.reading import Reading, read_profiles
from tests.conftest import make_screen
from tests.folders import make_folder

TYPE, NAME, PLATE, WELL = "Metadata_pert_type", "Metadata_Perturbation", "Metadata_Plate", "Metadata_Well"


def left_out(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["screen", "left-out", *map(str, arguments)])


def spoiled(tmp_path: Path) -> tuple[Path, dict[str, list[int]]]:
    """A table of embeddings with wells to leave out, by reason, and the rows of these."""
    table = make_screen().astype({TYPE: object, NAME: object, "f2": float})
    treated = np.flatnonzero(table[TYPE] == "trt")
    rows = {
        "excluded Metadata_Perturbation=other": [*treated[[0, 9]]],
        "NaN or infinite features": [*treated[[3]]],
        "marked empty": [*treated[[5, 6]]],
        "no perturbation label": [*treated[[8]]],
    }
    table.loc[rows["excluded Metadata_Perturbation=other"], NAME] = "other"
    table.loc[rows["NaN or infinite features"], "f2"] = np.nan
    table.loc[rows["marked empty"], TYPE] = "empty"
    table.loc[rows["no perturbation label"], NAME] = None
    table.to_parquet(tmp_path / "mine.parquet", index=False)
    return tmp_path / "mine.parquet", rows


def test_wells_of_a_file_of_embeddings_are_named_with_their_reasons(tmp_path: Path) -> None:
    path, rows = spoiled(tmp_path)
    done = left_out(
        "--profiles", path, "--exclude", f"{NAME}=other", "--nan", "drop-wells", "--out", tmp_path / "lists" / "out.csv"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path}/lists/out.csv\n"
    table = make_screen()
    expected = {
        (table[PLATE][row], f"{table[WELL][row][0]}{int(table[WELL][row][1:]):02d}", reason)
        for reason, of_reason in rows.items()
        for row in of_reason
    }
    found = pd.read_csv(tmp_path / "lists" / "out.csv", dtype=str)
    assert [*found.columns] == [PLATE, WELL, "reason"]
    assert {tuple(row) for row in found.to_numpy()} == expected
    assert len(found) == len(expected)
    assert found.equals(found.sort_values([PLATE, WELL, "reason"], ignore_index=True))

    shown = left_out("--profiles", path, "--exclude", f"{NAME}=other", "--nan", "drop-wells")
    for plate, well, _ in expected:
        assert any(plate in line and well in line for line in shown.stdout.splitlines())
    for reason, of_reason in rows.items():
        assert f"{reason}: {len(of_reason)}\n" in shown.stdout
    assert f"6 wells of these profiles are left out, {len(table) - 6} stay" in shown.stdout


def test_a_folder_names_its_wells(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "mine")
    done = left_out(folder, "--exclude", f"{NAME}=one", "--out", "out.csv")
    assert done.exit_code == 0, done.output
    found = Path("out.csv").read_text()
    assert found == (f"{PLATE},{WELL},reason\nP1,B01,excluded {NAME}=one\nP2,B01,excluded {NAME}=one\n")
    assert left_out(folder).stdout == "0 wells of mine are left out, 8 stay\n"
    assert left_out(folder, "--out", "none.csv").exit_code == 0
    assert pd.read_csv("none.csv").empty


def test_wells_that_a_file_counts_without_a_name_are_said_to_be_so(tmp_path: Path) -> None:
    path, _ = spoiled(tmp_path)
    profiles = read_profiles([str(path)], Reading(nan="drop-wells", exclude=(f"{NAME}=other",)))
    profiles.select(profiles.metadata[TYPE].to_numpy() != "empty", "marked empty").write(tmp_path / "less.parquet")
    shown = left_out("--profiles", tmp_path / "less.parquet")
    assert "marked empty: 2 (2 of them are counted in the files and not named)" in shown.stdout
    assert "no perturbation label: 1\n" in shown.stdout
    assert Profiles.read(tmp_path / "less.parquet").dropped["marked empty"] == 2


def test_either_a_screen_or_files_are_named() -> None:
    for arguments in ((), ("simulated-small", "--profiles", "a.parquet")):
        done = left_out(*arguments)
        assert done.exit_code == 2
        assert done.stderr == "phenobench: name either a screen or, with --profiles, files of embeddings\n"
    assert "did you mean simulated" in left_out("simulatd").stderr


def test_an_excluded_row_that_is_no_well_is_listed_as_it_is(tmp_path: Path) -> None:
    table = make_screen().astype({WELL: object})
    table.loc[2, WELL] = "nowhere"
    table.loc[3, WELL] = None
    table.to_csv(tmp_path / "a.csv", index=False)
    done = left_out(
        "--profiles", tmp_path / "a.csv", "--exclude", f"{WELL}=nowhere", "--exclude", f"{WELL}=", "--out", "out.csv"
    )
    assert done.exit_code == 0, done.output
    found = pd.read_csv(io.StringIO(Path("out.csv").read_text()))
    assert sorted(found[WELL].fillna("").tolist()) == ["", "nowhere"]
