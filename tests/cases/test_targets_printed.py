"""Targets as other languages print them, and lists that parquet keeps in other ways."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cases.screen import Score, assert_score, make, run, targets_score, write

NAMES = ["EGFR", "MTOR", "HDAC1", "TUBB"]
TARGETS = {f"c{i:02d}": [NAMES[i % 4]] if i < 8 else [NAMES[i % 4], NAMES[(i + 1 + i // 13) % 4]] for i in range(16)}
PRINTED: dict[str, Callable[[list[str]], str]] = {
    "list": str,
    "json": json.dumps,
    "tuple": lambda names: str(tuple(names)),
    "set": lambda names: "{" + ", ".join(repr(name) for name in names) + "}",
    "numpy": lambda names: str(np.array(names)),
    "postgres": lambda names: "{" + ",".join(names) + "}",
    "bare": lambda names: "[" + ", ".join(names) + "]",
}


@pytest.fixture(scope="module", name="table")
def several() -> pd.DataFrame:
    return make(compounds=16, plates=2, controls=3, seed=195)


@pytest.fixture(scope="module", name="right")
def brute_force(table: pd.DataFrame) -> Score:
    return targets_score(table, TARGETS)


def cells_of(table: pd.DataFrame) -> list[list[str] | None]:
    return [TARGETS.get(name) for name in table["Metadata_Perturbation"]]


def with_cells(table: pd.DataFrame, spell: Callable[[list[str]], str]) -> pd.DataFrame:
    cells = [None if cell is None else spell(cell) for cell in cells_of(table)]
    return table.assign(Metadata_Target=pd.Series(cells, dtype=object))


@pytest.mark.parametrize(
    ("printed", "form"), [*((name, "csv") for name in PRINTED), ("list", "h5ad"), ("json", "parquet")]
)
def test_a_printed_list_is_noted_or_read(printed: str, form: str, table: pd.DataFrame, right: Score) -> None:
    done = run(write(with_cells(table, PRINTED[printed]), f"printed.{form}"), task="target-matching")
    assert done.code == 0, done.output
    if not done.said("--separator target="):
        assert_score(done, right)


@pytest.mark.parametrize("printed", ["list", "json", "tuple", "bare"])
def test_a_printed_list_with_commas_is_read_with_the_separator(printed: str, table: pd.DataFrame, right: Score) -> None:
    path = write(with_cells(table, PRINTED[printed]), "printed.csv")
    assert_score(run(path, "--separator target=,", task="target-matching"), right)


@pytest.mark.parametrize("sign", ["/", "+", "//", " and "])
def test_any_other_sign_works_once_it_is_given(sign: str, table: pd.DataFrame, right: Score) -> None:
    path = write(with_cells(table, sign.join), "signs.csv")
    assert_score(run(path, f"--separator 'target={sign}'", task="target-matching"), right)


def test_a_separator_that_is_given_leaves_the_bar_be_or_adds_to_it(table: pd.DataFrame, right: Score) -> None:
    """``A|B`` on one plate and ``A;B`` on the other, with ``;`` given: the same targets, or a fault that names both."""
    bars, signs = with_cells(table, "|".join), with_cells(table, ";".join)
    first = table["Metadata_Plate"] == "Q1"
    done = run(
        [write(bars[first], "a.csv"), write(signs[~first], "b.csv")], "--separator 'target=;'", task="target-matching"
    )
    if done.code:
        assert "|" in done.output
    else:
        assert_score(done, right)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string_view()), pa.list_(pa.large_string()), pa.list_view(pa.string())], ids=str
)
def test_other_lists_of_parquet_are_several(kind: pa.DataType, table: pd.DataFrame, right: Score) -> None:
    whole = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(whole.append_column("Metadata_Target", pa.array(cells_of(table), kind)), "list.parquet")
    assert_score(run("list.parquet", task="target-matching"), right)


def test_lists_of_numbers_are_several_labels(table: pd.DataFrame, right: Score) -> None:
    numbers = [None if cell is None else [NAMES.index(name) for name in cell] for cell in cells_of(table)]
    first = (table["Metadata_Plate"] == "Q1").to_numpy()
    whole = pa.Table.from_pandas(table[first], preserve_index=False)
    cells = pa.array([cell for cell, here in zip(numbers, first, strict=True) if here], pa.list_(pa.int32()))
    pq.write_table(whole.append_column("Metadata_Target", cells), "a.parquet")
    texts = [None if cell is None else "|".join(map(str, cell)) for cell in numbers]
    b = write(table.assign(Metadata_Target=pd.Series(texts, dtype=object))[~first], "b.csv")
    assert_score(run(["a.parquet", b], task="target-matching"), right)


@pytest.mark.parametrize("name", ["1,3-dipropylxanthine", "5-HT2A; 5-HT2C", "Na,K-ATPase"])
def test_a_name_with_a_sign_is_one_target_until_the_sign_is_given(name: str, table: pd.DataFrame) -> None:
    of = {key: [name if own[0] == "EGFR" else own[0]] for key, own in TARGETS.items()}
    cells = [of[key][0] if key in of else None for key in table["Metadata_Perturbation"]]
    done = run(write(table.assign(Metadata_Target=pd.Series(cells, dtype=object)), "signs.csv"), task="target-matching")
    assert_score(done, targets_score(table, of))
