"""The Markdown as a reader of Markdown sees it: tables that hold, nothing hostile, nothing of the run."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from phenobench.leaderboard.board import Board, Missing, collect
from phenobench.leaderboard.markdown import markdown, text
from tests.leaderboard.boards import HOST, write_board
from tests.leaderboard.made import perturbations, write

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "`code` **bold** _so_ ~~gone~~ $x$",
    "https://evil.example",
    "line\nbreak\r\n# Heading",
    "back\\slash \\| pipe",
    "&lt;b&gt; &amp;",
    "</details>",
]


class Tables(HTMLParser):
    """Tables as lists of rows of texts, and every tag that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: set[str] = set()
        self.in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.tables[-1][-1][-1] += data


def read(source: str) -> Tables:
    parsed = Tables()
    parsed.feed(MarkdownIt("commonmark").enable("table").render(source))
    return parsed


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_board(folder)
    return folder


@pytest.fixture(scope="module")
def board(results: Path) -> Board:
    return dataclasses.replace(collect(results), published=())


def test_each_primary_score_has_a_row_with_what_is_to_be_known(board: Board) -> None:
    rows = {tuple(cell.strip() for cell in row) for table in read(markdown(board)).tables for row in table}
    primary = [column for column in board.columns if not column.secondary]
    assert len(primary) == 12
    for column in primary:
        for entry in column.entries:
            score, best = entry.score, entry.rank
            wanted = (
                entry.label,
                f"{entry.result.model.weights.kind} {entry.result.model.weights.sha256[:8]}",
                f"{score.value:.3f} [{score.ci_low:.3f}, {score.ci_high:.3f}]",
                f"{score.chance:.3f}",
                f"{score.value - score.chance:+.3f}",
                f"{score.n} {score.unit}",
                "" if best is None else str(best[0]) if best[0] == best[1] else f"{best[0]}-{best[1]}",
                entry.group,
            )
            assert any(row[:8] == wanted and row[9:] == ("BSD 3-Clause",) for row in rows)


def test_every_row_has_as_many_cells_as_its_head(board: Board) -> None:
    lines = [line for line in markdown(board).splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    heads = [place + 1 for place, line in enumerate(lines) if set(line) <= set("|- ")]
    for head, end in zip(heads, [*(head - 2 for head in heads[1:]), len(lines)], strict=True):
        assert len(set(bars[head - 2 : end])) == 1
    assert sum(len(table) for table in read(markdown(board)).tables) == len(lines) - len(heads)


def test_a_model_without_a_score_is_named_below_the_table(board: Board) -> None:
    assert markdown(board).count("No score: gamma (not run).") == 2


def test_what_is_no_model_stands_below_a_line_that_says_so(board: Board) -> None:
    for table in read(markdown(board)).tables:
        first = [row[0].strip() for row in table]
        if "oracle" in first:
            assert first.index("demonstration") < first.index("delta@demo") < first.index("random")
            assert (
                first.index("random") < first.index("epsilon@random") < first.index("control") < first.index("oracle")
            )
            assert {"alpha", "beta@04aaaaaa", "gamma"} & set(first) == set(first[1 : first.index("demonstration")])


def test_nothing_of_the_run_is_in_it_and_the_same_results_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    source = markdown(collect(results))
    assert HOST not in source
    assert "/home/somebody" not in source
    assert str(results) not in source
    write_board(tmp_path)
    assert markdown(collect(tmp_path)) == source


def test_several_scores_of_one_task_have_an_overview(tmp_path: Path) -> None:
    def two(made: dict[str, Any]) -> None:
        lower = {"higher_is_better": False, "too_few": True}
        made["scores"].append({**made["scores"][0], **lower, "subset": "genes", "value": 0.25, "ci_low": 0.2})

    write(tmp_path, "first", perturbations(40), change=two)
    write(tmp_path, "second", perturbations(40, seed=1))
    overview = read(markdown(collect(tmp_path))).tables[0]
    assert [cell.strip() for cell in overview[0]] == ["model", "mAP", "mAP genes (lower is better)"]
    rows = {row[0].strip(): row[1:] for row in overview[1:]}
    assert rows["first"][1].startswith("0.250 [0.200,")
    assert rows["first"][1].strip().endswith("], 1, few alone")
    assert rows["second"][1].strip() == "no score"
    assert [cell.strip() for cell in rows["chance"]] == ["0.070", "0.070"]


# Hostile results


@pytest.mark.parametrize("given", HOSTILE)
def test_text_of_a_result_is_text_for_a_reader_of_markdown(given: str) -> None:
    seen = read(f"| head |\n| --- |\n| {text(given)} |\n\n{text(given)}")
    assert seen.tags == {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert seen.tables[0][1][0].split() == given.split()


@pytest.mark.parametrize("given", HOSTILE)
def test_a_hostile_result_changes_no_table(board: Board, given: str) -> None:
    def spoilt(value: Any) -> Any:
        result = value.result
        model = result.model.model_copy(update={"id": given, "revision": given})
        screen = result.screen.model_copy(update={"id": given, "revision": given, "sha256": given})
        task = result.task.model_copy(update={"protocol": {"summary": given}})
        changed = {
            "model": model,
            "screen": screen,
            "task": task,
            "licence": {"model": given, "screen": given, given: given},
        }
        return dataclasses.replace(
            value,
            label=given + value.label,
            result=result.model_copy(update=changed),
            score=value.score.model_copy(update={"unit": given}),
        )

    column = board.columns[0]
    hostile = dataclasses.replace(
        column,
        screen=given,
        task=given,
        variant=given,
        version=given,
        normalization=given,
        map_rows=given,
        metric=given,
        entries=tuple(map(spoilt, column.entries)),
        missing=(Missing(given, given),),
    )
    good = dataclasses.replace(column, missing=(Missing("gamma", "not run"),))
    source, plain = (
        markdown(Board((one, dataclasses.replace(one, subset=f"{one.subset} too")))) for one in (hostile, good)
    )
    seen, honest = read(source), read(plain)
    assert seen.tags == honest.tags
    assert [[len(row) for row in table] for table in seen.tables] == [[len(row) for row in t] for t in honest.tables]
    assert "<script" not in source


# Numbers of papers


def test_published_numbers_stand_beside_the_measured_ones_and_in_no_table_with_them(tmp_path: Path) -> None:
    def gene_gene(variant: str) -> Any:
        def change(made: dict[str, Any]) -> None:
            made["task"].update(id="gene-gene", variant=variant)

        return change

    write(tmp_path, "mine", perturbations(40), screen="rxrx3-core", change=gene_gene("all-perturbations"))
    write(tmp_path, "mine", perturbations(40), screen="rxrx3-core", change=gene_gene("genes-only"))
    source = markdown(collect(tmp_path))
    after = source[source.index("### rxrx3-core: gene-gene (all-perturbations)") :]
    beside, rest = after.split("### rxrx3-core: gene-gene (genes-only)")
    assert "Published: CellCLIP, Table 4, RxRx3-core" in beside
    # The scale of genes alone was not published.
    assert "Published" not in rest[: rest.index("## Published numbers")]
    for table in read(source).tables:
        labels = {row[0].strip() for row in table}
        assert not ("mine" in labels and labels & {"CellCLIP", "OpenPhenom", "CellProfiler"})
    quoted = [(paper, table) for paper in collect(tmp_path).published for table in paper.tables]
    assert len(quoted) > 10
    for paper, printed in quoted:
        assert source.count(f"Published: {text(paper.title)}, {text(printed.where)}, {text(printed.screen)}**") == 1
