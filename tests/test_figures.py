"""Figures are drawn from result files, whole, and the same for the same results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.test_pipeline import phenobench, run


@pytest.fixture
def results(screen_file: Path, annotations: Path) -> Path:
    done = run(screen_file, annotations, "--model", "random", "--model", "oracle", "--normalization", "center")
    assert done.exit_code == 0, done.output
    return Path("results")


def test_each_task_has_a_figure_that_names_its_models(results: Path) -> None:
    done = phenobench("figures", "--out", "figures", "--format", "svg")
    assert done.exit_code == 0, done.output
    tasks = [
        "batch-effect.treated-wells",
        "gene-gene.genes-only",
        "perturbation-consistency.matched",
        "replicate-retrieval.across-plates",
    ]
    assert sorted(path.name for path in Path("figures").iterdir()) == [f"screen.{task}.center.svg" for task in tasks]
    for path in Path("figures").iterdir():
        text = path.read_text()
        ElementTree.fromstring(text)
        assert all(f"<!-- {model} -->" in text for model in ("mine", "random", "oracle"))


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_results_give_the_same_bytes(results: Path, kind: str) -> None:
    for folder in ("one", "two"):
        assert phenobench("figures", "--out", folder, "--format", kind).exit_code == 0
    for path in Path("one").iterdir():
        assert path.read_bytes() == (Path("two") / path.name).read_bytes()


def test_no_results_and_an_unknown_format_are_one_sentence(results: Path) -> None:
    empty = phenobench("figures", "--out", "figures", "--results", "elsewhere")
    assert (empty.exit_code, empty.stderr.count("\n")) == (2, 1)
    wrong = phenobench("figures", "--out", "figures", "--format", "jpg")
    assert wrong.exit_code == 2
    assert "did you mean" in wrong.stderr or "known:" in wrong.stderr
