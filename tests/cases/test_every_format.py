"""One table in every format, in one file or one a plate, in any order: the same bytes come out."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cases.screen import Run, features_of, make, run, write, write_h5ad, write_typed

# Texts that are something else to whoever guesses.
NAMES = ["012", "12", "1E1", "10E0", "10.0", "10", "00", "0", "+5", "5", "0x10", "True", "12:30", "2024-01-05"]
NAMES += ["110000294999123401", "20230415093012345671", "20230415093012345672", "a b", "b,c", "d|e", "\u00b5M"]
DOSES = [0.1, 10.0, 2.5, 1e-7, 0.3333333, 7.0, 1e6]
PLATES = ["012", "12", "1E1", "10.0", "10", "2024-01-05", "12:30", "20230415093012345671", "20230415093012345672"]
OPTIONS = "--column perturbation=Metadata_Compound,Metadata_Dose --negcon Metadata_Compound=DMSO --screen same"


def labels_of(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if table[name].dtype == object]


def typed(kind: pa.DataType) -> Callable[[pd.DataFrame, str], str]:
    def written(table: pd.DataFrame, stem: str) -> str:
        return write_typed(table, f"{stem}.parquet", **dict.fromkeys(labels_of(table), kind))

    return written


def nullable(table: pd.DataFrame, stem: str) -> str:
    types: dict[str, Any] = dict.fromkeys(labels_of(table), "string")
    return write(table.astype({**types, "Metadata_Dose": "Float64", "Metadata_Number": "Int64"}), f"{stem}.parquet")


def narrow(table: pd.DataFrame, stem: str) -> str:
    """As float32, by whose shortest text the doses are the same."""
    types = dict.fromkeys([*features_of(table), "Metadata_Dose"], "float32")
    return write(table.astype(types), f"{stem}.parquet")


def suffixed(suffix: str) -> Callable[[pd.DataFrame, str], str]:
    return lambda table, stem: write(table, stem + suffix)


def partitioned(table: pd.DataFrame, stem: str) -> str:
    table.to_parquet(stem, partition_cols=["Metadata_Plate"], index=False)
    return stem


FILES: Mapping[str, Callable[[pd.DataFrame, str], str]] = {
    "csv": suffixed(".csv"),
    "tsv": suffixed(".tsv"),
    "csv.gz": suffixed(".csv.gz"),
    "pandas": suffixed(".parquet"),
    "pandas-nullable": nullable,
    "float32": narrow,
    "dictionary": typed(pa.dictionary(pa.int8(), pa.string())),
    "large-string": typed(pa.large_string()),
    "string-view": typed(pa.string_view()),
    "partitioned": partitioned,
    "h5ad": lambda table, stem: write_h5ad(table, f"{stem}.h5ad"),
}


def content(done: Run) -> tuple[str, bytes]:
    """A result but for its ``run`` block, and its items."""
    assert done.code == 0, done.output
    return json.dumps({key: value for key, value in done.result.items() if key != "run"}, indent=1), done.items


def table_of(names: list[str], plates: list[str], doses: list[float], gap: int, seed: int) -> pd.DataFrame:
    table = make(compounds=len(names), plates=len(plates), controls=3, d=5, seed=seed)
    control = table["Metadata_pert_type"] == "negcon"
    numbers = table["Metadata_Perturbation"].str[1:].where(~control, "-1").astype(int).tolist()
    table["Metadata_Compound"] = ["DMSO" if i < 0 else names[i] for i in numbers]
    table["Metadata_Dose"] = [np.nan if i < 0 else doses[i % len(doses)] for i in numbers]
    table["Metadata_Number"] = np.arange(len(table)) % 7
    table["Metadata_Symbol"] = [None if i < 0 else names[::-1][i] for i in numbers]
    table["Metadata_Plate"] = table["Metadata_Plate"].map({f"Q{i + 1}": plate for i, plate in enumerate(plates)})
    table = table.drop(columns=["Metadata_Perturbation", "Metadata_pert_type"])
    table.loc[gap % len(table), "Metadata_Compound"] = None
    return table


def given_as(table: pd.DataFrame, form: str, *, apart: bool, order: int, stem: str) -> str:
    """The table in a format, its rows and files in another order; what to give to --profiles."""
    rows = table.sample(frac=1, random_state=order).reset_index(drop=True)
    if not apart:
        return FILES[form](rows, stem)
    if form == "partitioned":
        # A file a plate already: two levels of keys.
        rows.to_parquet(stem, partition_cols=["Metadata_Batch", "Metadata_Plate"], index=False)
        return stem
    Path(stem).mkdir()
    plates = [*rows["Metadata_Plate"].unique()]
    for i, plate in enumerate(plates):
        FILES[form](rows[rows["Metadata_Plate"] == plate].reset_index(drop=True), f"{stem}/file{i}")
    return stem


def assert_all_equal(table: pd.DataFrame, forms: list[tuple[str, bool]], order: int) -> None:
    """In a folder of its own, all forms give the bytes of the first one."""
    before = Path.cwd()
    folder = Path(tempfile.mkdtemp(dir=before))
    os.chdir(folder)
    try:
        text, items = content(run(write(table, "first.parquet"), OPTIONS, how="center"))
        for i, (form, apart) in enumerate(forms):
            path = given_as(table, form, apart=apart, order=order + i, stem=f"given{i}")
            found = content(run(path, OPTIONS, how="center"))
            assert found[0] == text, (form, apart)
            assert found[1] == items, (form, apart)
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


@pytest.mark.parametrize("apart", [False, True], ids=["one-file", "one-a-plate"])
@pytest.mark.parametrize("form", FILES)
def test_a_table_of_awkward_labels_is_the_same_in_every_format(form: str, apart: bool) -> None:
    table = table_of(NAMES[:16], ["012", "12", "1E1"], DOSES, gap=4, seed=93)
    assert_all_equal(table, [(form, apart)], order=1)


@settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=6, max_size=12, unique=True),
    plates=st.lists(st.sampled_from(PLATES), min_size=2, max_size=4, unique=True),
    doses=st.lists(st.sampled_from(DOSES), min_size=1, max_size=4, unique=True),
    gap=st.integers(0, 100),
    seed=st.integers(0, 1000),
    order=st.integers(0, 1000),
    forms=st.lists(st.tuples(st.sampled_from(sorted(FILES)), st.booleans()), min_size=3, max_size=3, unique=True),
)
def test_any_such_table_is_the_same_in_any_formats(
    names: list[str],
    plates: list[str],
    doses: list[float],
    gap: int,
    seed: int,
    order: int,
    forms: list[tuple[str, bool]],
) -> None:
    assert_all_equal(table_of(names, plates, doses, gap, seed), forms, order)
