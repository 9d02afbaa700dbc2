"""What may share a column, who stands where in it, and what is said of a score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phenobench.errors import InputError
from phenobench.leaderboard import render
from phenobench.leaderboard.board import Board, Column, Entry, collect
from phenobench.results import items_path
from tests.leaderboard.boards import write_board
from tests.leaderboard.made import perturbations, write


def primary(board: Board) -> list[Column]:
    return [column for column in board.columns if not column.secondary]


def entries(board: Board) -> dict[str, Entry]:
    """By label, of a board with one primary column."""
    (column,) = primary(board)
    return {entry.label: entry for entry in column.entries}


OTHER_SCALES: dict[str, Callable[[dict[str, Any]], None]] = {
    "wells": lambda made: made["screen"].update(sha256=64 * "d"),
    "screen's revision": lambda made: made["screen"].update(revision="2"),
    "task version": lambda made: made["task"].update(version="2"),
    "protocol": lambda made: made["task"]["protocol"].update(negatives="controls"),
    "normalization": lambda made: made["normalization"].update(name="none"),
    "rows of the map": lambda made: made["map"].update(rows="treated wells and negative controls"),
    "size of the map": lambda made: made["map"].update(n=41),
    "metric": lambda made: made["scores"][0].update(metric="median AP"),
    "subset": lambda made: made["scores"][0].update(subset="genes"),
    "annotation table": lambda made: made["annotations"].update(all={"sha256": 64 * "e"}),
}


@pytest.mark.parametrize("what", OTHER_SCALES)
def test_scores_on_another_scale_have_another_column(tmp_path: Path, what: str) -> None:
    write(tmp_path, "first", perturbations(40))
    write(tmp_path, "second", perturbations(40, seed=1), change=OTHER_SCALES[what])
    columns = primary(collect(tmp_path))
    assert sorted([entry.label for entry in column.entries] for column in columns) == [["first"], ["second"]]
    assert all(entry.rank == (1, 1) for column in columns for entry in column.entries)


def test_seed_software_and_licence_do_not_part_a_column(tmp_path: Path) -> None:
    def other(made: dict[str, Any]) -> None:
        made.update(seed=9, environment={"python": "3.13"}, fingerprint=64 * "0")
        made["licence"]["model"] = "MIT"

    write(tmp_path, "first", perturbations(40))
    write(tmp_path, "second", perturbations(40, seed=1), change=other)
    assert set(entries(collect(tmp_path))) == {"first", "second"}


def test_sections_are_kept_apart_and_only_models_and_demonstrations_have_places(tmp_path: Path) -> None:
    write_board(tmp_path)
    for column in primary(collect(tmp_path)):
        sections = [entry.section for entry in column.entries]
        assert sections[-3:] == ["demonstration", "random", "control"]
        assert set(sections[:-3]) == {"models"}
        places = {entry.label: entry.rank for entry in column.entries}
        assert places["delta@demo"] == (1, 1)
        assert places["epsilon@random"] is places["oracle"] is None
        assert all(1 <= best <= worst <= len(sections) - 3 for best, worst in filter(None, places.values()))


def test_the_best_comes_first_also_where_lower_is_better(tmp_path: Path) -> None:
    write_board(tmp_path)
    for column in primary(collect(tmp_path)):
        values = [entry.score.value for entry in column.entries if entry.section == "models"]
        assert values == sorted(values, reverse=column.higher_is_better)


def test_a_model_without_a_score_is_named_and_costs_nobody_anything(tmp_path: Path) -> None:
    write_board(tmp_path)
    board = collect(tmp_path)
    missing = {(c.screen, c.task): [(m.label, m.reason) for m in c.missing] for c in primary(board) if c.missing}
    assert missing == {("screen-two", "gene-gene"): [("gamma", "not run")]}
    # Where gamma was run, its absence elsewhere changes nothing.
    shutil.rmtree(tmp_path / "screen-two")
    alone = {(c.task, c.normalization, c.subset): c.entries for c in primary(collect(tmp_path))}
    there = {(c.task, c.normalization, c.subset): c.entries for c in primary(board) if c.screen == "screen-one"}
    assert alone == there


def test_a_skipped_subset_is_missing_with_its_reason(tmp_path: Path) -> None:
    def other(made: dict[str, Any]) -> None:
        made["scores"][0]["subset"] = "genes"
        made["skipped"] = {"all": "no two share a target"}

    write(tmp_path, "first", perturbations(40))
    write(tmp_path, "second", perturbations(40, seed=1), change=other)
    (column,) = [column for column in primary(collect(tmp_path)) if column.subset == "all"]
    assert [(one.label, one.reason) for one in column.missing] == [("second", "no two share a target")]


def test_who_else_is_in_the_table_moves_no_number(tmp_path: Path) -> None:
    write(tmp_path, "first", perturbations(40))
    before = entries(collect(tmp_path))["first"]
    write(tmp_path, "second", perturbations(40, seed=1, lift=0.3))
    after = entries(collect(tmp_path))["first"]
    assert (before.score, before.above_chance, before.marks) == (after.score, after.above_chance, after.marks)
    assert before.above_chance == pytest.approx(before.score.value - 0.07)
    assert (before.rank, after.rank) == ((1, 1), (2, 2))


def test_results_that_move_to_another_folder_give_the_same_board(tmp_path: Path) -> None:
    write_board(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere" / "two")
    assert collect(tmp_path / "one") == collect(tmp_path / "elsewhere" / "two")


# Marks


def test_fewer_perturbations_or_wells_than_others_are_marked(tmp_path: Path) -> None:
    all_values = perturbations(40)
    some = dict(list(all_values.items())[:30])
    write(tmp_path, "whole", all_values)
    write(tmp_path, "part", some, change=lambda made: made["map"].update(n=40))
    write(tmp_path, "small-map", some)
    write(tmp_path, "dropped", all_values, change=lambda made: made["screen"].update(dropped={"empty": 3, "NaN": 5}))
    marks = {entry.label: entry.marks for column in primary(collect(tmp_path)) for entry in column.entries}
    assert marks == {"whole": (), "part": ("coverage",), "small-map": ("coverage",), "dropped": ("coverage",)}


@pytest.mark.parametrize(("overlap", "marks"), [(0, ()), (12, ("leakage",))])
def test_weights_that_saw_the_scored_perturbations_are_marked(
    tmp_path: Path, overlap: int, marks: tuple[str, ...]
) -> None:
    training = {"screen": "other", "perturbations": 90, "steps": 1, "samples": 1, "seed": 0, "overlap": overlap}
    write(
        tmp_path,
        "mine",
        perturbations(60),
        kind="trained",
        change=lambda made: made["model"].update(training=training),
    )
    (entry,) = entries(collect(tmp_path)).values()
    assert entry.marks == marks


@pytest.mark.parametrize(
    ("model", "kind", "screen", "marks"),
    [
        ("openphenom", "official", "rxrx3-core", ("leakage",)),
        ("openphenom", "precomputed", "rxrx3-core", ("leakage",)),
        ("cellclip", "official", "bray2017", ("leakage",)),
        ("openphenom", "official", "cpjump1", ("leakage",)),
        ("openphenom", "official", "cpjump1-compound-u2os-48h", ("leakage",)),
        ("openphenom", "official", "cpjump1-nelisa", ("leakage",)),
        ("openphenom", "official", "nelisa-jump-target1", ()),
        ("cellclip", "official", "cpjump1", ()),
        ("openphenom", "official", "bray2017", ()),
        ("cellclip", "official", "rxrx3-core", ()),
    ],
)
def test_published_weights_are_marked_on_the_screens_that_their_card_names(
    tmp_path: Path, model: str, kind: str, screen: str, marks: tuple[str, ...]
) -> None:
    write(tmp_path, model, perturbations(60), screen=screen, kind=kind)
    assert entries(collect(tmp_path))[model].marks == marks
    # The same architecture with other weights saw something else.
    shutil.rmtree(tmp_path / screen)
    write(tmp_path, model, perturbations(60), screen=screen, kind="random")
    assert entries(collect(tmp_path))[f"{model}@random"].marks == ()


@pytest.mark.parametrize("how", ["absent", "of another score"])
def test_a_score_whose_items_say_nothing_is_told_apart_from_none(tmp_path: Path, how: str) -> None:
    write(tmp_path, "best", perturbations(60, lift=0.3))
    write(tmp_path, "worst", perturbations(60, seed=1))
    path = write(tmp_path, "silent", perturbations(60, seed=2, lift=0.1))
    if how == "absent":
        items_path(path).unlink()
    else:
        shutil.copy(items_path(write(tmp_path / "x", "silent", perturbations(60, seed=2))), items_path(path))
        shutil.rmtree(tmp_path / "x")
    found = entries(collect(tmp_path))
    assert found["silent"].marks == ("no items",)
    assert {label: entry.rank for label, entry in found.items()} == {"best": (1, 2), "silent": (1, 3), "worst": (2, 3)}
    assert {label: entry.group for label, entry in found.items()} == {"best": "a", "silent": "a b", "worst": "b"}


# Formats


@pytest.mark.parametrize(("format", "start"), [("markdown", "# Leaderboard\n"), ("csv", "screen,"), ("html", "<!")])
def test_each_format_is_rendered_and_the_same_twice(tmp_path: Path, format: str, start: str) -> None:
    write(tmp_path, "mine", perturbations(20))
    rendered = render(tmp_path, format)
    assert rendered.lower().startswith(start.lower())
    assert render(tmp_path, format) == rendered


def test_another_format_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown format 'markdwon'; did you mean markdown"):
        render(tmp_path / "nowhere", "markdwon")


# Files that are refused


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no result; run phenobench run first"):
        collect(tmp_path)


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_results_of_another_schema_are_refused(tmp_path: Path, version: object) -> None:
    path = write(tmp_path, "mine", perturbations(40))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": version}))
    with pytest.raises(InputError, match=f"schema_version {version} and this phenobench reads 1"):
        collect(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', "\x00\xff", "[" * 100_000])
def test_broken_results_are_refused_by_name(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "mine", perturbations(40))
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"replicate-retrieval\.default\.json") as caught:
        collect(tmp_path)
    assert "\n" not in str(caught.value)


def test_broken_items_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", perturbations(40))
    items_path(path).write_bytes(items_path(path).read_bytes()[:-50])
    with pytest.raises(InputError, match=r"items\.parquet cannot be read as items"):
        collect(tmp_path)


def test_two_results_of_one_model_for_one_column_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "mine", perturbations(40))
    shutil.copy(path, path.with_name("replicate-retrieval.json"))
    with pytest.raises(InputError, match="are both mine's replicate-retrieval"):
        collect(tmp_path)
