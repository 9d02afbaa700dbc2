"""Several targets in one cell: as lists, with ``|``, and with other signs that have to be named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import Score, assert_score, features_of, make, targets_score, write, write_h5ad
from tests.cases.screen import run as run_task

NAMES = ["EGFR", "MTOR", "HDAC1", "TUBB", "AURKB", "BRAF"]
TARGETS = {f"c{i:02d}": [NAMES[i % 6]] if i < 12 else [NAMES[i % 6], NAMES[(i + 1 + i // 15) % 6]] for i in range(18)}


@pytest.fixture(scope="module", name="table")
def several() -> pd.DataFrame:
    table = make(compounds=18, plates=2, controls=3, seed=78, effect=0.3)
    common = np.random.default_rng(79).standard_normal((6, 8))
    names = features_of(table)
    values = table[names].to_numpy().copy()
    for row, name in enumerate(table["Metadata_Perturbation"]):
        for target in TARGETS.get(name, []):
            values[row] += common[NAMES.index(target)]
    table[names] = np.round(values, 3)
    return table


@pytest.fixture(scope="module", name="right")
def brute_force(table: pd.DataFrame) -> Score:
    right = targets_score(table, TARGETS)
    assert right[0] != pytest.approx(targets_score(table, {name: ["+".join(of)] for name, of in TARGETS.items()})[0])
    return right


def with_column(table: pd.DataFrame, cells: list[object]) -> pd.DataFrame:
    return table.assign(Metadata_Target=pd.Series(cells, dtype=object))


def cells_of(table: pd.DataFrame) -> list[list[str] | None]:
    return [TARGETS.get(name) for name in table["Metadata_Perturbation"]]


def spelled(table: pd.DataFrame, between: str) -> pd.DataFrame:
    return with_column(table, [None if cell is None else between.join(cell) for cell in cells_of(table)])


def separator_named(warnings: object) -> bool:
    return "--separator target=" in str(warnings)


@pytest.mark.parametrize("between", ["|", " | ", "| "])
@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_a_bar_is_between_targets(form: str, between: str, table: pd.DataFrame, right: Score) -> None:
    done = run_task(write(spelled(table, between), f"bar.{form}"), task="target-matching")
    assert_score(done, right)
    assert not separator_named(done.warnings)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_a_list_in_parquet_is_several(kind: pa.DataType, table: pd.DataFrame, right: Score) -> None:
    whole = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(whole.append_column("Metadata_Target", pa.array(cells_of(table)).cast(kind)), "list.parquet")
    assert_score(run_task("list.parquet", task="target-matching"), right)


def test_lists_may_be_empty_and_have_gaps_and_repetitions(table: pd.DataFrame, right: Score) -> None:
    cells: list[object] = [[] if cell is None else [None, *cell, cell[0], " "] for cell in cells_of(table)]
    done = run_task(write(with_column(table, cells), "gaps.parquet"), task="target-matching")
    assert_score(done, right)


def test_arrays_in_cells_and_lists_in_one_of_two_files_are_several(table: pd.DataFrame, right: Score) -> None:
    first = table["Metadata_Plate"] == "Q1"
    arrays = with_column(table, [None if cell is None else np.array(cell, dtype=object) for cell in cells_of(table)])
    files = [write(arrays[first], "a.parquet"), write(spelled(table, "|")[~first], "b.csv")]
    assert_score(run_task(files, task="target-matching"), right)


def test_a_category_of_h5ad_with_bars_is_several(table: pd.DataFrame, right: Score) -> None:
    assert_score(run_task(write_h5ad(spelled(table, "|"), "bars.h5ad"), task="target-matching"), right)


@pytest.mark.parametrize(("between", "sign"), [(";", ";"), ("; ", ";"), (", ", ","), (",", ","), (" ; ", ";")])
@pytest.mark.parametrize("form", ["csv", "parquet", "h5ad"])
def test_another_sign_is_named_and_works_once_it_is_given(
    form: str, between: str, sign: str, table: pd.DataFrame, right: Score
) -> None:
    path = write(spelled(table, between), f"sign.{form}")
    if between != ",":
        done = run_task(path, task="target-matching")
        assert separator_named(done.warnings), done.warnings
    done = run_task(path, f"--separator 'target={sign}'", task="target-matching")
    assert_score(done, right)
    assert not separator_named(done.warnings), done.warnings


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_printed_list_is_named_and_works_once_the_sign_is_given(form: str, table: pd.DataFrame, right: Score) -> None:
    path = write(with_column(table, [None if cell is None else str(cell) for cell in cells_of(table)]), f"list.{form}")
    done = run_task(path, task="target-matching")
    assert separator_named(done.warnings), done.warnings
    assert_score(run_task(path, "--separator target=,", task="target-matching"), right)


def test_single_targets_are_no_note_whatever_signs_their_names_have(table: pd.DataFrame) -> None:
    names = ["EGFR", "Na+/K+-ATPase", "HLA-A", "5-HT2A", "p38 (MAPK14)", "PI3K/AKT"]
    of = {name: [names[NAMES.index(own[0])]] for name, own in TARGETS.items()}
    cells: list[object] = [of[name][0] if name in of else None for name in table["Metadata_Perturbation"]]
    done = run_task(write(with_column(table, cells), "single.csv"), task="target-matching")
    assert_score(done, targets_score(table, of))
    assert not separator_named(done.warnings), done.warnings


def test_a_separator_is_of_a_role(table: pd.DataFrame) -> None:
    path = write(spelled(table, ";"), "sign.csv")
    for wrong in ("tagret=;", ";", "target=", "=;"):
        done = run_task(path, f"--separator '{wrong}'", task="target-matching")
        assert done.code == 2, wrong
        assert "separator" in done.output or "tagret" in done.output, done.output
