"""Bad input through the real command line: one sentence, exit code 2, nothing half-written."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from phenobench.cli import app
from tests.conftest import make_screen

Table = pd.DataFrame
TYPE, NAME, PLATE, WELL = "Metadata_pert_type", "Metadata_Perturbation", "Metadata_Plate", "Metadata_Well"


def refused(*arguments: object, says: str | tuple[str, ...] = ()) -> str:
    """Run a command that must fail, and return its one sentence."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("phenobench: ")
    assert done.stderr.endswith("\n")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in [says] if isinstance(says, str) else says:
        assert part in done.stderr
    return done.stderr


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def run_refused(profiles: object, *more: object, says: str | tuple[str, ...] = ()) -> str:
    tasks = () if "--task" in more else ("--task", "replicate-retrieval")
    sentence = refused("run", "--profiles", profiles, "--model", "mine", *tasks, *more, says=says)
    assert files(Path("results")) == []
    return sentence


def change(table: Table, row: int, column: str, value: str | None) -> Table:
    changed = table.astype({column: object})
    changed.loc[row, column] = value
    return changed


# What is wrong with a table, and what the sentence must name.
TABLES: dict[str, tuple[Callable[[Table], Table], tuple[str, ...]]] = {
    "no plate column": (lambda t: t.drop(columns=PLATE), ("no column for the plate", "--column plate=NAME")),
    "no perturbation column": (lambda t: t.drop(columns=NAME), ("perturbation", "--column perturbation=NAME")),
    "an empty perturbation column": (lambda t: t.assign(**{NAME: None}), ("--column perturbation=NAME",)),
    "blank perturbations": (lambda t: t.assign(**{NAME: "\u00a0"}), ("--column perturbation=NAME",)),
    "no negative control": (lambda t: t.assign(**{TYPE: "trt"}), ("no negative control", "--negcon")),
    "no control column": (lambda t: t.drop(columns=TYPE), ("no negative control", "--negcon")),
    "one control in a group": (
        lambda t: t[(t[PLATE] != "P2") | (t[TYPE] == "trt") | ~t.duplicated([PLATE, TYPE])],
        ("plate P2 has 1 negative control", "at least 2"),
    ),
    "an empty plate": (lambda t: change(t, 6, PLATE, None), ("row 7 has no plate",)),
    "an empty well": (lambda t: change(t, 6, WELL, ""), ("row 7 has no well name",)),
    "an unreadable well": (lambda t: change(t, 6, WELL, "well 7"), ("row 7: 'well 7' is no well name", "A01")),
    "a well twice": (
        lambda t: pd.concat([t, t.iloc[[5]]]),
        (f"row 97: well {make_screen()[WELL][5]} of plate P0 is there already", "row 6"),
    ),
    "no features": (lambda t: t.filter(like="Metadata_"), ("no feature column", "Metadata_")),
    "no rows": (lambda t: t.iloc[:0], ("no rows",)),
    "one well a perturbation": (lambda t: t[(t[PLATE] == "P0") | (t[TYPE] == "negcon")], ("replicates",)),
}


@pytest.mark.parametrize("suffix", ["parquet", "csv.gz"])
@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_scored(tmp_path: Path, case: str, suffix: str) -> None:
    table, says = TABLES[case][0](make_screen()), TABLES[case][1]
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)
    run_refused(path, says=says)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite"), (1e300, "inf")]
)
def test_a_value_that_is_not_finite(tmp_path: Path, value: float, kind: str) -> None:
    table = make_screen()
    table.loc[4, "f2"] = value
    table.to_parquet(tmp_path / "a.parquet")
    run_refused(tmp_path / "a.parquet", says=("row 5", "'f2'", kind, "--nan drop-features", "--nan drop-wells"))


def test_text_in_a_feature_column(tmp_path: Path) -> None:
    table = change(make_screen(), 4, "f2", "many")
    table.to_csv(tmp_path / "a.csv", index=False)
    run_refused(tmp_path / "a.csv", says=("'f2' holds text ('many' in row 5)", "--column", "--metadata-prefix"))
    table.astype({"f2": str}).to_parquet(tmp_path / "a.parquet")
    run_refused(tmp_path / "a.parquet", says=("'f2' holds", "not numbers"))


def test_one_plate_where_other_plates_are_needed(tmp_path: Path) -> None:
    table = make_screen()[lambda t: t[PLATE].isin(["P0", "P1"])]
    wells = [f"{chr(65 + i // 12)}{i % 12 + 1}" for i in range(len(table))]
    table.assign(**{PLATE: "P0", WELL: wells}).to_parquet(tmp_path / "a.parquet")
    run_refused(tmp_path / "a.parquet", says="--variant same-plate")


# Options


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "replicate-retreival"], "unknown task 'replicate-retreival'; did you mean replicate-retrieval?"),
        (["--normalization", "centre+tvn"], "did you mean center"),
        (["--normalization", ""], "unknown normalization ''"),
        (["--variant", "same-plte"], "unknown variant 'same-plte'; did you mean same-plate"),
        (["--task", "gene-gene", "--variant", "same-plate"], "unknown variant 'same-plate'"),
        (["--task", "cross-modal"], "--texts"),
        (["--column", "perturbtion=Metadata_x"], "unknown role 'perturbtion'; did you mean perturbation"),
        (["--column", "perturbation"], "write role=Name"),
        (["--column", "perturbation="], "write role=Name"),
        (["--column", "perturbation=Metadata_x"], "no column 'Metadata_x'"),
        (["--column", "perturbation=f0"], "replicates"),
        (["--metadata-prefix", ""], "no feature column"),
        (["--negcon", "control"], "write Column=Value"),
        (["--negcon", f"{NAME}=contrl"], "its values are control (48)"),
        (["--label", f"{NAME}=control:control"], "type one of trt, negcon, poscon, empty"),
        (["--exclude", "Metadata_x=1"], "no column 'Metadata_x'"),
        (["--exclude", f"{TYPE}=trt", "--exclude", f"{TYPE}=negcon"], "no well is left"),
        (["--nan", "drop-feature"], "did you mean drop-features or drop-wells or drop?"),
        (["--cards", "nowhere"], "has no models/, tasks/ or screens/ folder"),
        (["--texts", "nowhere.parquet", "--task", "cross-modal"], "nowhere.parquet: no file of profiles is there"),
        (["--screen", "a/b"], "the screen 'a/b' cannot name a folder"),
        (["--screen", ".."], "the screen '..' cannot name a folder"),
        (["--model", "../x"], "cannot name a folder"),
        (["--model", ""], "cannot name a folder"),
        (["--model", "-x"], "cannot name a folder"),
        (["--model", "a\0b"], "cannot name a folder"),
        (["--model", "other"], "give one name"),
        (["--annotations", "nowhere", "--task", "gene-gene"], "nowhere is no folder of annotations"),
    ],
)
def test_an_option_that_cannot_be_followed(screen_file: Path, arguments: list[str], says: str) -> None:
    model = [] if "--model" in arguments and "other" not in arguments else ["--model", "mine"]
    task = [] if "--task" in arguments else ["--task", "replicate-retrieval"]
    refused("run", "--profiles", screen_file, *model, *task, *arguments, says=says)
    assert files(Path("results")) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--model", "orcale"], "unknown model 'orcale'; did you mean oracle?"),
        (["run", "--screen", "luad-off"], "unknown screen 'luad-off'; did you mean luad-orf?"),
        (["run", "--screen", "../simulated"], "../simulated/screen.csv does not exist"),
        (["list", "modells"], "unknown list 'modells'; did you mean models?"),
        (["data", "get", "luad"], "unknown data set 'luad'; did you mean luad-orf?"),
    ],
)
def test_a_name_that_nothing_has(arguments: list[str], says: str) -> None:
    refused(*arguments, says=says)
    assert files(Path()) == []


def test_an_annotation_file_with_another_header(screen_file: Path, annotations: Path) -> None:
    (annotations / "Other.txt").write_text("gene1,gene2\nA1,A2\n")
    says = ("Other.txt: line 1 is 'gene1,gene2'", "entity1,entity2")
    run_refused(screen_file, "--task", "gene-gene", "--annotations", annotations, says=says)


# Files


def broken(kind: str, folder: Path) -> Path:
    """A file that cannot be read, of one kind."""
    rng = np.random.default_rng(0)
    table, suffix = make_screen(), kind.split()[-1]
    path = folder / f"a.{suffix}"
    csv = table.to_csv(index=False)
    if kind.startswith("empty"):
        path.write_bytes(b"")
    elif kind.startswith("random"):
        path.write_bytes(rng.bytes(int(kind.split()[1])))
    elif kind == "truncated parquet":
        table.to_parquet(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "damaged parquet":
        table.to_parquet(path)
        data = bytearray(path.read_bytes())
        data[50:400] = rng.bytes(350)
        path.write_bytes(bytes(data))
    elif kind == "truncated h5ad":
        anndata.AnnData(np.eye(50)).write_h5ad(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "truncated csv":
        path.write_text(csv[: len(csv) // 2])
    elif kind == "truncated csv.gz":
        path.write_bytes(gzip.compress(csv.encode())[:-4000])
    else:
        texts = {
            "plain csv.gz": csv,
            "ragged csv": csv.replace("P1,", "P1,extra,", 1),
            "blank csv": "\n\n\n",
            "quote csv": '"',
            "header csv": csv.splitlines()[0] + "\n",
        }
        path.write_text(texts[kind])
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *[f"empty {suffix}" for suffix in ("parquet", "csv", "csv.gz", "h5ad")],
        *[f"random {size} {suffix}" for size in (9, 999, 50_000) for suffix in ("parquet", "csv", "csv.gz", "h5ad")],
        *["truncated parquet", "truncated h5ad", "truncated csv", "truncated csv.gz", "damaged parquet"],
        *["plain csv.gz", "ragged csv", "blank csv", "quote csv", "header csv"],
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = broken(kind, tmp_path)
    sentence = run_refused(path, says=str(path))
    assert sentence.removesuffix("\n").isprintable()


def test_a_file_of_another_format_and_a_folder_without_profiles(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    run_refused(tmp_path / "README.md", says=".parquet, .csv, .csv.gz, .tsv, .tsv.gz, .h5ad")
    for given in (tmp_path, tmp_path / "*.parquet", tmp_path / "absent.csv", "", "x" * 5000):
        run_refused(given, says="no file of profiles")


def test_a_column_name_twice(tmp_path: Path) -> None:
    text = make_screen().to_csv(index=False)
    (tmp_path / "a.csv").write_text(text.replace("f1", "f0", 1))
    run_refused(tmp_path / "a.csv", says="the column 'f0' occurs twice")
    table = pa.Table.from_pandas(make_screen())
    pq.write_table(table.append_column(PLATE, table.column(PLATE)), tmp_path / "a.parquet")
    run_refused(tmp_path / "a.parquet", says=f"the column '{PLATE}' occurs twice")


def test_plates_that_are_numbers_here_and_text_there(tmp_path: Path) -> None:
    """Two files of one plate, once as a number and once as text: its wells are there twice."""
    table = make_screen()
    table[PLATE] = 7
    table[WELL] = [f"{chr(65 + i // 12)}{i % 12 + 1}" for i in range(96)]
    table.to_parquet(tmp_path / "1.parquet")
    make_screen()[:1].assign(**{PLATE: "7", WELL: "A1"}).to_parquet(tmp_path / "2.parquet")
    run_refused(tmp_path, says=("2.parquet: row 1: well A01 of plate 7 is there already", "1.parquet: row 1"))


def test_a_file_named_twice_is_read_once(screen_file: Path) -> None:
    options = ["--model", "mine", "--screen", "s", "--task", "replicate-retrieval", "--profiles"]
    for folder, paths in (
        ("once", [screen_file]),
        ("twice", [screen_file, "--profiles", screen_file.parent / "*.parquet"]),
    ):
        done = CliRunner().invoke(app, ["run", "--results", folder, *options, *map(str, paths)])
        assert done.exit_code == 0, done.output
    items = [pd.read_parquet(next(Path(folder).rglob("*.items.parquet"))) for folder in ("once", "twice")]
    pd.testing.assert_frame_equal(items[0], items[1])


# Nothing half-written


def test_results_below_a_file(screen_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for results in (file, file / "below"):
        run_refused(screen_file, "--results", results, says=("cannot write", str(file)))
    refused(
        "normalize", screen_file, "--steps", "center", "--out", file / "a.parquet", says=("cannot write", str(file))
    )
    assert file.read_text() == "mine"


def test_earlier_results_are_kept(screen_file: Path, tmp_path: Path) -> None:
    options = ["--model", "mine", "--task", "replicate-retrieval", "--screen", "s"]
    assert CliRunner().invoke(app, ["run", "--profiles", str(screen_file), *options]).exit_code == 0
    before = {name: Path("results", name).read_bytes() for name in files(Path("results"))}
    assert len(before) == 2
    bad = tmp_path / "bad.parquet"
    for table in (make_screen().assign(f0=np.nan), make_screen().assign(**{TYPE: "trt"}), make_screen(seed=1)):
        table.to_parquet(bad)
        refused("run", "--profiles", bad, *options)
    assert {name: Path("results", name).read_bytes() for name in files(Path("results"))} == before


def test_normalize_keeps_the_file_that_is_there(screen_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert (
        CliRunner().invoke(app, ["normalize", str(screen_file), "--steps", "center", "--out", str(out)]).exit_code == 0
    )
    before = out.read_bytes()
    make_screen().assign(**{TYPE: "trt"}).to_parquet(tmp_path / "bad.parquet")
    refused("normalize", tmp_path / "bad.parquet", "--steps", "center", "--out", out, says="no negative control")
    refused("normalize", screen_file, "--steps", "centre", "--out", out, says="did you mean center")
    refused("normalize", screen_file, "--steps", "center", "--out", tmp_path / "out.csv", says="parquet")
    assert out.read_bytes() == before
    assert not list(tmp_path.glob("*out*.tmp")) + list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("kind", ["truncated parquet", "random 999 csv", "truncated h5ad"])
def test_a_process_of_its_own_says_the_same(tmp_path: Path, kind: str) -> None:
    path = broken(kind, tmp_path)
    command = [sys.executable, "-c", "from phenobench.cli import app; app()"]
    done = subprocess.run([*command, "run", "--profiles", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"phenobench: {path}")
    assert len(done.stderr.splitlines()) == 1
    assert files(Path()) == []
