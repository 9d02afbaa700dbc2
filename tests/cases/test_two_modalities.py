"""The other side of cross-modal: labels by the same rule, a column of its own, and a name for what it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cases.screen import Run, assert_refused, features_of, make, renamed, run, write

N = 20


@pytest.fixture(scope="module", name="table")
def twenty() -> pd.DataFrame:
    return make(compounds=N, plates=2, controls=3, d=6, seed=90)


def texts(labels: Sequence[Any], name: str, column: str = "Metadata_Perturbation") -> str:
    said = [f"cells with compound number {i + 1}" for i in range(len(labels))]
    return write(pd.DataFrame({column: pd.Series(labels), "Metadata_Text": said}), name)


def oracle(profiles: str, other: str, more: str = "") -> Run:
    # A folder of its own, so that nothing is fetched.
    Path("pairs").mkdir(exist_ok=True)
    Path("pairs/None.txt").write_text("entity1,entity2\nA,B\n")
    return run(profiles, f"--texts {other} --model oracle --annotations pairs {more}", task="cross-modal")


def assert_all_match(done: Run) -> None:
    """All of both sides are ranked among 20: chance says so."""
    assert done.code == 0, done.output
    of_ten = [one for one in done.result["scores"] if one["metric"] == "recall@10"]
    assert of_ten
    for one in of_ten:
        assert one["n"] == N, done.warnings
        assert one["chance"] == pytest.approx(0.5)
    assert not done.said("left out"), done.warnings


PADDED = [f"{i + 1:02d}" for i in range(N)]
AWKWARD = ["1E1", "10", "10.0", "012", "12", "12:30", "0x10", "16", "+5", "5", "2024-01-05", "True"]
AWKWARD += [f"11000029499912340{i}" for i in range(8)]


@pytest.mark.parametrize("name", ["texts.csv", "texts.tsv", "texts.csv.gz", "texts.parquet"])
@pytest.mark.parametrize("labels", [PADDED, AWKWARD], ids=["padded", "awkward"])
def test_labels_of_texts_are_read_like_those_of_profiles(name: str, labels: list[str], table: pd.DataFrame) -> None:
    profiles = write(renamed(table, labels, ""), "padded.csv")
    assert_all_match(oracle(profiles, texts(labels, name)))


def test_blanks_at_the_ends_make_no_difference_on_either_side(table: pd.DataFrame) -> None:
    blank = [f" c{i:02d}\u00a0" if i % 2 else f"c{i:02d}\t" for i in range(N)]
    assert_all_match(oracle(write(table, "plain.csv"), texts(blank, "texts.csv")))
    plain = texts([f"c{i:02d}" for i in range(N)], "plain_texts.csv")
    assert_all_match(oracle(write(renamed(table, blank), "blank.parquet"), plain))


@pytest.mark.parametrize("kinds", [(int, int), (int, float), (float, int), (np.float32, int)], ids=str)
def test_whole_numbers_match_whatever_their_type(kinds: tuple[type, type], table: pd.DataFrame) -> None:
    one, other = ([kind(i) for i in range(N)] for kind in kinds)
    named = renamed(table, one, np.nan)
    profiles = write(
        named.assign(Metadata_Perturbation=named["Metadata_Perturbation"].astype(float)), "numbers.parquet"
    )
    assert_all_match(oracle(profiles, texts(other, "texts.parquet")))


def test_numbers_on_one_side_are_the_texts_of_the_other(table: pd.DataFrame) -> None:
    named = renamed(table, range(1, N + 1), np.nan)
    profiles = write(
        named.assign(Metadata_Perturbation=named["Metadata_Perturbation"].astype(float)), "numbers.parquet"
    )
    assert_all_match(oracle(profiles, texts(PADDED, "texts.csv")))
    integers = texts(list(range(1, N + 1)), "texts.parquet")
    assert_all_match(oracle(write(renamed(table, PADDED, ""), "padded.csv"), integers))


def test_a_text_side_may_be_utf_16_or_have_semicolons(table: pd.DataFrame) -> None:
    profiles = write(renamed(table, PADDED, ""), "padded.csv")
    text = Path(texts(PADDED, "texts.csv")).read_text()
    Path("wide.csv").write_text(text, encoding="utf-16")
    assert_all_match(oracle(profiles, "wide.csv"))
    Path("semicolon.csv").write_text(text.replace(",", ";"))
    assert_all_match(oracle(profiles, "semicolon.csv"))


# A column of its own


@pytest.mark.parametrize("name", ["texts.csv", "texts.parquet"])
def test_the_other_side_has_a_column_of_its_own(name: str, table: pd.DataFrame) -> None:
    profiles = write(renamed(table, PADDED, "").rename(columns={"Metadata_Perturbation": "drug"}), "drugs.csv")
    other = texts(PADDED, name, "Name")
    done = oracle(profiles, other, "--column perturbation=drug --texts-column perturbation=Name")
    assert_all_match(done)


def test_the_default_column_stays_that_of_the_other_side(table: pd.DataFrame) -> None:
    other = texts(PADDED, "texts.csv", "Name")
    assert_all_match(oracle(write(renamed(table, PADDED, ""), "padded.csv"), other, "--texts-column perturbation=Name"))


def embedded(table: pd.DataFrame, column: str = "Metadata_Perturbation", n: int = N) -> pd.DataFrame:
    """Another embedding of the same compounds, a row each."""
    rng = np.random.default_rng(91)
    rows = {column: [f"c{i:02d}" for i in range(n)]}
    return pd.DataFrame({**rows, **{f"p{j}": np.round(rng.standard_normal(n), 3) for j in range(5)}})


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_embeddings_of_another_side_have_a_column_of_their_own(form: str, table: pd.DataFrame) -> None:
    other = write(embedded(table, "Protein"), f"other.{form}")
    profiles = write(table, "plain.csv")
    done = oracle(profiles, other, "--texts-column perturbation=Protein")
    assert done.code == 0, done.output
    assert {one["n"] for one in done.result["scores"]} == {N}


def test_a_column_that_the_other_side_lacks_is_named(table: pd.DataFrame) -> None:
    other = texts(PADDED, "texts.csv", "Name")
    profiles = write(renamed(table, PADDED, ""), "padded.csv")
    assert_refused(oracle(profiles, other), "texts.csv", "--texts-column perturbation=")
    assert_refused(oracle(profiles, other, "--texts-column perturbation=Nmae"), "texts.csv", "Nmae")
    assert_refused(oracle(profiles, other, "--texts-column Name"), "--texts-column")


def test_rows_of_another_side_are_not_called_texts(table: pd.DataFrame) -> None:
    """Embeddings for 15 of 20: what is left out has no text because there are none."""
    done = oracle(write(table, "plain.csv"), write(embedded(table, n=15), "proteins.parquet"))
    assert done.code == 0, done.output
    assert {one["n"] for one in done.result["scores"]} == {15}
    assert done.said("5 perturbations"), done.warnings
    assert not done.said("text"), done.warnings


def test_a_second_screen_may_have_several_rows_and_controls(table: pd.DataFrame) -> None:
    second = make(compounds=N, plates=2, controls=3, d=6, seed=92)
    second = second.rename(columns={name: f"g{name}" for name in features_of(second)})
    done = oracle(write(table, "first.csv"), write(second, "second.csv"))
    assert done.code == 0, done.output
    assert {one["n"] for one in done.result["scores"]} == {N}
    assert not done.said("text"), done.warnings
