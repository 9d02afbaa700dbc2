"""The results that the benchmark of the leaderboard is run on are results like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import leaderboard
from phenobench.leaderboard.board import collect
from phenobench.results import find_results, read_result


def test_results_that_are_made_have_items_that_give_their_scores(tmp_path: Path) -> None:
    assert leaderboard.make(tmp_path, 40) == 40
    assert len(find_results(tmp_path)) == 40
    entries = [entry for column in collect(tmp_path).columns if not column.secondary for entry in column.entries]
    assert {entry.section for entry in entries} == {"models"}
    assert not [entry.path for entry in entries if "no items" in entry.marks]
    assert all(entry.rank for entry in entries)


def test_lower_ones_lie_at_the_same_places_and_are_lower(tmp_path: Path) -> None:
    for name, by in (("one", 1.0), ("lower", 0.5)):
        leaderboard.make(tmp_path / name, 8, by)
    for path in find_results(tmp_path / "one"):
        one = read_result(path).scores[0].value
        other = read_result(tmp_path / "lower" / path.relative_to(tmp_path / "one")).scores[0].value
        assert other == pytest.approx(one / 2)


def test_the_report_says_the_median_and_the_slowest_beside_what_was_asked(tmp_path: Path) -> None:
    assert leaderboard.section(tmp_path) == ""
    seconds = {"leaderboard html": [5.0, 30.0, 6.0], "check, all scores lower": [4.0]}
    figures = {"machine": {"CPU": "a fast one"}, "results": 3000, "bytes": 1_200_000, "seconds": seconds}
    (tmp_path / leaderboard.FILE).write_text(json.dumps(figures))
    text = leaderboard.section(tmp_path)
    assert "| leaderboard html | 6.0 | 30.0 | < 10 |" in text
    assert "| check, all scores lower | 4.0 | 4.0 |  |" in text
    assert "3,000 results; the page has 1.20 MB" in text
