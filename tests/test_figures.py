"""Figures are drawn from result files, whole, and the same for the same results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from phenobench.figures import draw_figures
from phenobench.figures.density import densities
from phenobench.figures.forest import forest
from phenobench.figures.items import read_strips
from phenobench.figures.strips import strips
from phenobench.figures.tails import recall_by_tail, tail_widths
from phenobench.results import find_results, read_result
from tests.leaderboard.boards import MODELS, write_board
from tests.test_pipeline import phenobench

TASK = "screen-one.gene-gene.default.center"


@pytest.fixture
def results() -> Path:
    write_board(Path("results"), {name: MODELS[name] for name in ("alpha", "oracle")}, ["screen-one"], ["center"])
    return Path("results")


def one(results: Path, task: str, model: str = "alpha") -> Path:
    return results / "screen-one" / model / "center" / f"{task}.json"


def test_each_task_has_figures_that_name_its_models(results: Path) -> None:
    drawn = {path.name: path for path in draw_figures(results, Path("figures"), "svg")}
    assert {path.name for path in Path("figures").iterdir()} == set(drawn)
    assert len(drawn) == 5 + 2 + 2
    for name in (f"{TASK}.svg", f"{TASK}.tails.svg"):
        text = drawn[name].read_text()
        ElementTree.fromstring(text)
        assert all(f"<!-- {model} -->" in text for model in ("alpha", "oracle"))
    behind = drawn[f"{TASK}.CORUM-complex.svg"].read_text()
    assert "alpha (of 3)" in behind
    assert "oracle" not in behind


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_results_give_the_same_bytes(results: Path, kind: str) -> None:
    for folder in ("one", "two"):
        assert phenobench("figures", "--out", folder, "--format", kind).exit_code == 0
    assert len(list(Path("one").iterdir())) == 9
    for path in Path("one").iterdir():
        assert path.read_bytes() == (Path("two") / path.name).read_bytes()


def test_a_forest_has_each_value_interval_and_chance_where_they_are(results: Path) -> None:
    models = [read_result(one(results, "gene-gene", model)) for model in ("alpha", "oracle")]
    axis = forest(models, "title").axes[0]
    lines = [np.asarray(line.get_xdata(), dtype=float).tolist() for line in axis.lines]
    scores = [result.scores[0] for result in models]
    assert lines == [
        values for score in scores for values in ([score.ci_low, score.ci_high], [score.value], [score.chance] * 2)
    ]


def test_tails_come_from_the_primary_and_the_secondary_scores(results: Path) -> None:
    result = read_result(one(results, "gene-gene"))
    assert [width for width, _ in recall_by_tail(result, "CORUM")] == [1.0, 5.0, 10.0]
    assert [score.metric for _, score in recall_by_tail(result, "CORUM")] == ["recall 1 %", "recall", "recall 10 %"]
    figure = tail_widths([result], "title")
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_children() if hasattr(label, "get_text")].count(
        "CORUM"
    ) == 1
    assert tail_widths([read_result(one(results, "batch-effect"))], "title") is None


def test_strips_hold_what_a_plain_group_by_gives(results: Path) -> None:
    path = one(results, "gene-gene")
    items = pd.read_parquet(path.with_name("gene-gene.items.parquet"))
    genes, complexes = read_strips(path, read_result(path))
    long = pd.concat([items.assign(gene=items["entity1"]), items.assign(gene=items["entity2"])])
    expected = long.groupby("gene").agg(hit=("hit", "mean"), cosine=("cosine", "mean"))
    order = expected.sort_values(["hit", "cosine"], ascending=False).index.tolist()
    best, worst = genes.ends(100)
    assert [row.name for row in best + worst] == order
    assert [row.value for row in best + worst] == pytest.approx(expected["hit"][order].tolist())
    np.testing.assert_allclose(best[0].dots, np.sort(long[long["gene"] == order[0]]["cosine"]))
    # Three planted complexes of four genes, all of whose pairs are annotated.
    best, worst = complexes.ends(2)
    rows = {row.name: row for row in best + worst}
    assert sorted(rows) == ["GENE0, GENE1, GENE2 + 1", "GENE10, GENE11, GENE8 + 1", "GENE4, GENE5, GENE6 + 1"]
    first = items[items["entity1"].isin([f"GENE{number}" for number in range(4)])]
    assert len(first) == 6
    assert rows["GENE0, GENE1, GENE2 + 1"].value == pytest.approx(first["hit"].mean())
    np.testing.assert_allclose(rows["GENE0, GENE1, GENE2 + 1"].dots, np.sort(first["cosine"]))


def test_annotated_pairs_stand_beside_all_pairs_of_the_map(results: Path) -> None:
    path = one(results, "gene-gene")
    genes, complexes = read_strips(path, read_result(path))
    assert genes.others is not None
    assert genes.others.sum() == 66
    assert complexes.others is None
    axis = densities([("alpha", genes)], "title").axes[0]
    for stairs in axis.patches:
        heights, edges, _ = stairs.get_data()  # type: ignore[attr-defined]
        assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    items = pd.read_parquet(path.with_name("gene-gene.items.parquet"))
    items.attrs.clear()
    items.to_parquet(path.with_name("gene-gene.items.parquet"))
    assert read_strips(path, read_result(path))[0].others is None


def test_lower_is_better_puts_the_lowest_first(results: Path) -> None:
    path = one(results, "batch-effect")
    (strip,) = read_strips(path, read_result(path))
    best, worst = strip.ends(3)
    assert [row.value for row in best + worst] == sorted(row.value for row in best + worst)
    items = pd.read_parquet(path.with_name("batch-effect.items.parquet"))
    assert best[0].name == items.groupby("perturbation")["same_plate"].mean().idxmin()


def test_an_item_without_a_value_was_not_scored(results: Path) -> None:
    path = one(results, "replicate-retrieval")
    items = pd.read_parquet(path.with_name("replicate-retrieval.items.parquet"))
    items.loc[items["perturbation"] == "GENE3", "average_precision"] = np.nan
    items.to_parquet(path.with_name("replicate-retrieval.items.parquet"))
    (strip,) = read_strips(path, read_result(path))
    best, worst = strip.ends(100)
    assert len(best + worst) == 11
    assert "GENE3" not in {row.name for row in best + worst}
    assert "alpha (of 11)" in {axis.get_title() for axis in strips([("alpha", strip)], "title").axes}


def test_no_results_and_an_unknown_format_are_one_sentence(results: Path) -> None:
    empty = phenobench("figures", "--out", "figures", "--results", "elsewhere")
    assert (empty.exit_code, empty.stderr.count("\n")) == (2, 1)
    wrong = phenobench("figures", "--out", "figures", "--format", "jpg")
    assert wrong.exit_code == 2
    assert "did you mean" in wrong.stderr or "known:" in wrong.stderr


def test_items_that_cannot_be_read_are_one_sentence(results: Path) -> None:
    find_results(results)[0].with_name("gene-gene.items.parquet").write_bytes(b"no parquet")
    broken = phenobench("figures", "--out", "figures")
    assert (broken.exit_code, broken.stderr.count("\n")) == (2, 1)
    assert "cannot be read as items" in broken.stderr
