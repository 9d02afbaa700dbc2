"""The text side of cross-modal tasks: reading it, refusing what cannot be meant, embedding it once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from phenobench.cli import app
from phenobench.descriptions import Description
from phenobench.errors import InputError
from phenobench.models.adapter import TextAdapter
from phenobench.profiles.reading import Reading
from phenobench.results import read_result
from phenobench.screens import load_screen
from phenobench.texts import embed_texts, from_descriptions, prompts, read_texts


class Letters(TextAdapter):
    """Counts of letters; it counts its calls, too."""

    id = "letters"
    weights_sha256 = "0" * 64

    def __init__(self) -> None:
        self.calls = 0

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        return np.zeros((len(crops), 8), np.float32)

    def prompt(self, description: Description) -> str:
        return f"{description.kind} {description.name}"

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        return np.array([[text.count(letter) for letter in "abcdefgh"] for text in texts], np.float32)


def written(path: Path, **columns: list[str | None]) -> str:
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


def test_a_file_of_texts_is_told_from_a_file_of_embeddings(tmp_path: Path) -> None:
    said = written(tmp_path / "said.csv", Metadata_Perturbation=["b", "a"], Metadata_Text=["text of b", "text of a"])
    found = read_texts(said, Reading())
    assert not found.embedded
    assert [(one.perturbation, one.text) for one in found.descriptions] == [("a", "text of a"), ("b", "text of b")]
    assert found.rows.role("perturbation").tolist() == ["a", "b"]
    vectors = written(tmp_path / "vectors.csv", Metadata_Perturbation=["b", "a"], x=["1", "2"], y=["3", "4"])
    found = read_texts(vectors, Reading())
    assert found.embedded
    assert found.rows.features.tolist() == [[1, 3], [2, 4]]


def test_the_label_may_have_another_name_and_parquet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "said.parquet"
    pd.DataFrame({"drug": ["a", None, "a"], "Metadata_Text": ["t", "without a label", "t"]}).to_parquet(path)
    found = read_texts(str(path), Reading(columns={"perturbation": "drug"}))
    assert [one.perturbation for one in found.descriptions] == ["a"]


@pytest.mark.parametrize(
    ("labels", "texts", "said"),
    [
        (["a", "a"], ["one", "two"], "'a' has two texts, 'one' and 'two'; keep one"),
        (["a", "b"], ["one", None], "row 2 (b) has no text in Metadata_Text"),
        (["a", "b"], ["one", "  "], "row 2 (b) has no text"),
        ([None, None], ["one", "two"], "no row has a perturbation"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    labels: list[str | None], texts: list[str | None], said: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "said.csv", Metadata_Perturbation=labels, Metadata_Text=texts)
    with pytest.raises(InputError) as caught:
        read_texts(path, Reading())
    assert said in str(caught.value)
    assert path in str(caught.value)


def test_a_text_that_is_given_goes_before_the_prompt() -> None:
    one, other = Description("a", kind="crispr", name="A"), Description("b", text="as given")
    assert prompts(Letters(), [one, other]) == ["crispr A", "as given"]


def test_texts_are_embedded_once_for_the_same_weights_and_words(tmp_path: Path) -> None:
    model = Letters()
    texts = from_descriptions([Description("b", text="bee"), Description("a", text="ace")])
    first = embed_texts(model, texts, tmp_path)
    assert first.features[:, 4].tolist() == [2, 1]
    again = embed_texts(model, texts, tmp_path)
    assert model.calls == 1
    np.testing.assert_array_equal(again.features, first.features)
    assert again.role("perturbation").tolist() == ["b", "a"]
    embed_texts(model, from_descriptions([Description("b", text="be"), Description("a", text="ace")]), tmp_path)
    assert model.calls == 2
    model.weights_sha256 = "1" * 64
    embed_texts(model, texts, tmp_path)
    assert model.calls == 3


def test_the_simulated_screen_says_something_different_of_each_perturbation() -> None:
    screen = load_screen("simulated")
    assert screen.texts is not None
    said = screen.texts.descriptions
    treated = screen.wells.loc[screen.wells["Metadata_pert_type"] == "trt", "Metadata_Perturbation"]
    assert sorted(one.perturbation for one in said) == sorted(treated.unique())
    assert len({(one.kind, one.name, one.info) for one in said}) == len(said)
    assert {one.kind for one in said} == {"crispr", "compound"}


def test_a_result_says_the_name_of_the_file_that_it_was_made_with(tmp_path: Path) -> None:
    """The same embeddings under another name: what was kept would call them by the old one."""
    table = pd.DataFrame(np.eye(4), columns=["a", "b", "c", "d"]).assign(Metadata_Perturbation=list("wxyz"))
    for name in ("cells", "proteins", "assay"):
        table.to_parquet(tmp_path / f"{name}.parquet")
    path = tmp_path / "results/cells/mine/none/cross-modal.json"
    found = []
    for name in ("proteins", "assay", "assay"):
        arguments = ["run", "--profiles", tmp_path / "cells.parquet", "--texts", tmp_path / f"{name}.parquet"]
        arguments += ["--model", "mine", "--task", "cross-modal", "--normalization", "none"]
        done = CliRunner().invoke(app, [*map(str, arguments), "--results", str(tmp_path / "results")])
        assert done.exit_code == 0, done.output
        found.append((read_result(path), "were there already" in done.stdout))
    assert [one.map.rows.split(",")[0] for one, _ in found] == [
        "unique rows of proteins",
        "unique rows of assay",
        "unique rows of assay",
    ]
    assert [kept for _, kept in found] == [False, False, True]
    assert found[0][0].texts == found[1][0].texts
