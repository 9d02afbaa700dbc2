"""The CSV read back: a row a score, numbers to the last bit, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import dataclasses
from io import StringIO
from pathlib import Path

import pytest

from phenobench.leaderboard.board import Board, collect
from phenobench.leaderboard.csv_table import csv_table
from tests.leaderboard.boards import HOST, write_board


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("results")
    write_board(folder)
    return collect(folder)


def read(source: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(source, newline=""), strict=True))


def test_every_score_is_a_row_with_its_numbers_in_full(board: Board) -> None:
    rows = read(csv_table(board))
    scores = [(column, entry) for column in board.columns for entry in column.entries]
    assert len(rows) == len(scores) > 100
    for row, (column, entry) in zip(rows, scores, strict=True):
        for name in ("value", "ci_low", "ci_high", "chance", "ceiling"):
            assert float(row[name]) == getattr(entry.score, name)
        assert float(row["above_chance"]) == entry.score.value - entry.score.chance
        assert (row["model"], row["section"]) == (entry.label, entry.section)
        assert row["level"] == ("secondary" if column.secondary else "primary")
        assert (row["rank_best"], row["rank_worst"]) == (tuple(map(str, entry.rank)) if entry.rank else ("", ""))
        assert row["higher_is_better"] == ("false" if row["metric"] == "kNN share" else "true")
        assert row["result"] == f"{row['screen']}/{row['model']}/{row['normalization']}/{row['task']}.json"


def test_a_demonstration_says_what_it_was_trained_on(board: Board) -> None:
    trained = {(row["model"], row["trained_on"], row["training_overlap"]) for row in read(csv_table(board))}
    assert {row for row in trained if row[1]} == {("delta@demo", row[1], "12") for row in trained if row[1]}


def test_papers_and_the_run_are_not_in_it(board: Board) -> None:
    source = csv_table(board)
    assert HOST not in source
    assert {row["provenance"] for row in read(source)} == {"measured"}
    assert board.published
    assert "CellCLIP" not in source


@pytest.mark.parametrize(
    "given", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=cmd|' /C calc'!A0", 'a "quoted", b', "line\nbreak", "-0.5"]
)
def test_text_of_a_result_stays_text_in_one_cell(board: Board, given: str) -> None:
    column = board.columns[0]
    result = column.entries[0].result
    hostile = dataclasses.replace(
        column.entries[0],
        label=given,
        result=result.model_copy(update={"licence": {"model": given}, "fingerprint": given}),
    )
    source = csv_table(Board((dataclasses.replace(column, screen=given, entries=(hostile,)),)))
    (row,) = read(source)
    assert source.count("\n") == 2
    for name in ("screen", "model", "licence", "fingerprint"):
        assert row[name].lstrip("'").split() == given.split()
        assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_negative_numbers_stay_numbers(board: Board) -> None:
    column = board.columns[0]
    entry = column.entries[0]
    below = dataclasses.replace(entry, score=entry.score.model_copy(update={"value": -0.25}))
    (row,) = read(csv_table(Board((dataclasses.replace(column, entries=(below,)),))))
    assert row["value"] == "-0.25"


def test_the_same_results_give_the_same_bytes(board: Board, tmp_path: Path) -> None:
    write_board(tmp_path)
    assert csv_table(collect(tmp_path)) == csv_table(board)
