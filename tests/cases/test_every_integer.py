"""Integers, lists and controls in every format, in one file or one a plate: the same bytes come out."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cases.screen import Run, features_of, make, run, write, write_h5ad

OPTIONS = "--screen same --column perturbation=Metadata_Compound,Metadata_Dose --negcon Metadata_Compound=0"
INTEGERS = ["Metadata_Plate", "Metadata_Compound", "Metadata_Batch"]


def table_of(plates: list[int], compounds: list[int], seed: int) -> pd.DataFrame:
    """Identifiers and batches are integers, doses are text, and a gene is there for some."""
    table = make(compounds=len(compounds), plates=len(plates), controls=3, d=5, seed=seed)
    numbers = [-1 if name == "DMSO" else int(name[1:]) for name in table["Metadata_Perturbation"]]
    table["Metadata_Plate"] = [plates[int(plate[1:]) - 1] for plate in table["Metadata_Plate"]]
    table["Metadata_Batch"] = table["Metadata_Batch"].str[4:].astype(int)
    table["Metadata_Compound"] = [0 if i < 0 else compounds[i] for i in numbers]
    table["Metadata_Dose"] = [None if i < 0 else ["10.0", "10", "1E1", "012"][i % 4] for i in numbers]
    targets = [["T1"], ["T2", "T1"], ["T3"], ["T2"]]
    table["Metadata_Target"] = [None if i < 0 else "|".join(targets[i % 4]) for i in numbers]
    return table.drop(columns=["Metadata_Perturbation", "Metadata_pert_type"])


def arrow(kind: pa.DataType) -> Callable[[pd.DataFrame, str], str]:
    """Integers of one type, and targets as lists."""

    def written(table: pd.DataFrame, stem: str) -> str:
        whole = pa.Table.from_pandas(table, preserve_index=False)
        for name in INTEGERS:
            place = whole.column_names.index(name)
            cells = pa.array(table[name])
            typed = cells.dictionary_encode() if pa.types.is_dictionary(kind) else cells.cast(kind)
            whole = whole.set_column(place, name, typed)
        lists = pa.array([None if pd.isna(cell) else cell.split("|") for cell in table["Metadata_Target"]])
        place = whole.column_names.index("Metadata_Target")
        pq.write_table(whole.set_column(place, "Metadata_Target", lists), f"{stem}.parquet")
        return f"{stem}.parquet"

    return written


def partitioned(table: pd.DataFrame, stem: str) -> str:
    table.to_parquet(stem, partition_cols=["Metadata_Batch", "Metadata_Plate"], index=False)
    return stem


FILES: dict[str, Callable[[pd.DataFrame, str], str]] = {
    "csv": lambda table, stem: write(table, f"{stem}.csv"),
    "tsv.gz": lambda table, stem: write(table, f"{stem}.tsv.gz"),
    "pandas": lambda table, stem: write(table, f"{stem}.parquet"),
    "nullable": lambda table, stem: write(table.convert_dtypes(convert_floating=False), f"{stem}.parquet"),
    "uint64": arrow(pa.uint64()),
    "decimal": arrow(pa.decimal128(20, 0)),
    "dictionary": arrow(pa.dictionary(pa.int32(), pa.int64())),
    "text": lambda table, stem: write(table.astype(dict.fromkeys(INTEGERS, "string")), f"{stem}.parquet"),
    "partitioned": partitioned,
    "h5ad": lambda table, stem: write_h5ad(table, f"{stem}.h5ad"),
}


def content(done: Run) -> tuple[str, bytes]:
    assert done.code == 0, done.output
    return json.dumps({key: value for key, value in done.result.items() if key != "run"}, indent=1), done.items


def mixed(table: pd.DataFrame, forms: list[str], stem: str) -> str:
    """A file a plate, each in the next of these formats."""
    Path(stem).mkdir()
    for (plate, rows), form in zip(table.groupby("Metadata_Plate"), itertools.cycle(forms), strict=False):
        FILES[form](rows.reset_index(drop=True), f"{stem}/file{plate}")
    return stem


def assert_same(table: pd.DataFrame, given: list[Callable[[pd.DataFrame], str]], order: int, task: str) -> None:
    before, folder = Path.cwd(), Path(tempfile.mkdtemp(dir=Path.cwd()))
    os.chdir(folder)
    try:
        right = content(run(write(table, "first.csv"), OPTIONS, how="center", task=task))
        for i, written in enumerate(given):
            rows = table.sample(frac=1, random_state=order + i).reset_index(drop=True)
            found = content(run(written(rows), OPTIONS, how="center", task=task))
            assert found[0] == right[0]
            assert found[1] == right[1]
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


@pytest.mark.parametrize("task", ["replicate-retrieval", "target-matching"])
@pytest.mark.parametrize("form", FILES)
def test_integers_and_lists_are_the_same_in_every_format(form: str, task: str) -> None:
    table = table_of([3, 12, 110000294999123401], [110000294999123402, *range(1, 12)], seed=197)
    assert_same(table, [lambda rows: FILES[form](rows, "given")], 1, task)


def test_numbers_of_features_are_the_same_in_every_width() -> None:
    """Three decimals are read alike as float32 and float64."""
    table = table_of([3, 12], list(range(1, 9)), seed=198)
    narrow = table.astype(dict.fromkeys(features_of(table), np.float32))
    assert_same(
        table, [lambda rows: write(rows.astype(narrow.dtypes.to_dict()), "a.parquet")], 1, "replicate-retrieval"
    )


@settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    plates=st.lists(st.sampled_from([1, 2, 10, 12, 2**53 + 1, 10**17 + 1]), min_size=2, max_size=4, unique=True),
    compounds=st.lists(st.integers(1, 2**62), min_size=6, max_size=9, unique=True),
    forms=st.lists(st.sampled_from(sorted(set(FILES) - {"partitioned"})), min_size=2, max_size=4),
    order=st.integers(0, 1000),
)
def test_files_of_different_formats_together_are_the_same(
    plates: list[int], compounds: list[int], forms: list[str], order: int
) -> None:
    table = table_of(plates, compounds, seed=order)
    assert_same(table, [lambda rows: mixed(rows, forms, "given")], order, "replicate-retrieval")
