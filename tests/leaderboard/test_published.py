"""Numbers of papers: as they were read, each with its source, and never mistaken for results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phenobench.errors import InputError
from phenobench.leaderboard.published import Paper, PublishedTable, read_published
from phenobench.results import find_results
from tests.leaderboard.made import perturbations, write
from tests.shared import shared

PAPER = """\
title = "A paper"
version = "v1"
address = "https://example.org/paper"
read = "full text"

[[tables]]
where = "Table 1"
screen = "somewhere"
task = "gene-gene"
metric = "recall"
unit = "fraction"
map = "genes"
protocol = "as printed"
grade = "verbatim"
subsets = ["CORUM", "HuMAP"]

[tables.rows]
"A model" = [0.5, 0.25]
"Another" = [0.125, ""]

[tables.spread]
"A model" = [0.01, ""]
"""


def given(folder: Path, content: str, name: str = "paper.toml") -> Path:
    path = folder / "published" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def tables() -> list[tuple[Paper, PublishedTable]]:
    return [(paper, table) for paper in read_published(Path("nowhere")) for table in paper.tables]


def plain(number: float | str) -> str:
    """As the notes write it, but for zeros at the end: ``.714``."""
    return re.escape(repr(number).removeprefix("0").removesuffix(".0")) + r"\.?0*"


def test_each_number_is_in_the_notes_on_what_was_read() -> None:
    notes = shared("facts", "published.md").read_text(encoding="utf-8")
    quoted = {
        number
        for _, table in tables()
        for row in (*table.rows.values(), *table.spread.values())
        for number in row
        if number not in ("", 0)
    }
    assert len(quoted) > 200
    for number in quoted:
        assert re.search(rf"(?<!\d){plain(number)}(?!\d)", notes), number


def test_rows_are_those_of_the_notes_in_order_and_with_their_spread() -> None:
    notes = shared("facts", "published.md").read_text(encoding="utf-8").replace(" ", "").replace("|", "/")
    checked = 0
    for paper, table in tables():
        for name, row in table.rows.items():
            # The notes on CPJUMP1 are in another order, and random embeddings have one number.
            if paper.title == "CPJUMP1" or len(row) < 5 or "" in row or "gene-gene" in table.where:
                continue
            spread = table.spread.get(name, ("",) * len(row))
            cells = (
                plain(number) + ("" if width == "" else r"\+-" + plain(width))
                for number, width in zip(row, spread, strict=True)
            )
            assert re.search("/".join(cells) + r"(?!\d)", notes), (table.where, name)
            checked += 1
    assert checked > 40


def test_what_was_read_at_second_hand_is_not_quoted() -> None:
    # Others quote figures of these, from protocols that are not known.
    names = " ".join(name for _, table in tables() for name in table.rows)
    assert not re.search("CWA-MSN|Phenom-1|Phenom-2|MorphoCLIP|Phenom-Beta", names)


def test_recall_of_rxrx3_core_has_one_scale_and_says_which() -> None:
    recall = [table for _, table in tables() if (table.screen, table.task) == ("rxrx3-core", "gene-gene")]
    assert len(recall) == 3
    for table in recall:
        assert table.variant == "all-perturbations"
        assert table.map.startswith("all perturbations")
        assert "14,090 rows" in table.map
    # Two groups printed the same model on this scale.
    openphenom = [row for table in recall for name, row in table.rows.items() if name.startswith("OpenPhenom")]
    assert len(openphenom) == 2
    assert openphenom[0] == pytest.approx(openphenom[1], abs=0.001)


def test_every_table_says_where_it_is_from_and_how_it_was_measured() -> None:
    for paper, table in tables():
        assert paper.address.startswith("https://")
        assert all((paper.version, paper.read, table.where, table.map, table.protocol, table.metric))


def test_numbers_are_shown_with_the_digits_of_their_table(tmp_path: Path) -> None:
    given(tmp_path, PAPER)
    table = next(paper for paper in read_published(tmp_path) if paper.title == "A paper").tables[0]
    assert table.printed("A model") == ["0.500 ± 0.010", "0.250"]
    assert table.printed("Another") == ["0.125", ""]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('grade = "verbatim"', 'grade = "second-hand"', "grade: Input should be 'verbatim'"),
        ('unit = "fraction"', 'unit = "fraction"\nnote = "x"', "note: Extra inputs are not permitted"),
        ("[0.5, 0.25]", "[0.5]", "row 'A model' has 1 numbers and there are 2 subsets"),
        ('"A model" = [0.01, ""]', '"B model" = [0.01, ""]', "spread has the row 'B model', which rows has not"),
        ("0.25]", "nan]", "finite number"),
        ("https://example.org/paper", "javascript:alert(1)", "address: String should match"),
        ("https://example.org/paper", "https://example.org/> <script>", "address: String should match"),
        ('title = "A paper"', "title = ", "cannot be read as TOML"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = given(tmp_path, PAPER.replace(old, new))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_published(tmp_path)
    assert str(path) in str(caught.value)


def test_a_file_of_the_results_folder_goes_before_one_of_the_package(tmp_path: Path) -> None:
    given(tmp_path, PAPER, "cellclip.toml")
    titles = [paper.title for paper in read_published(tmp_path)]
    assert "A paper" in titles
    assert "CellCLIP" not in titles
    assert len(titles) == len(read_published(Path("nowhere")))


def test_published_files_are_no_results(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", perturbations(5))
    given(tmp_path, PAPER)
    assert find_results(tmp_path) == [path]
