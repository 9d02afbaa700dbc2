"""The page as a file: whole, small, the same for the same results, and silent about where they were made."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phenobench.errors import InputError
from phenobench.leaderboard.board import Board, collect
from phenobench.leaderboard.page import page
from phenobench.leaderboard.page.commands import command
from phenobench.projections import Projection, projection_path, write_projection
from phenobench.results import find_results, read_result
from tests.leaderboard.boards import HOST, write_board
from tests.test_pipeline import phenobench, run


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_board(tmp_path)
    return tmp_path


def test_the_same_results_give_the_same_bytes_wherever_they_lie(results: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_board(elsewhere)
    assert page(collect(results, drawn=True)) == page(collect(elsewhere, drawn=True))


def test_nothing_of_the_run_block_is_on_the_page(results: Path) -> None:
    text = page(collect(results, drawn=True))
    assert HOST not in text
    assert "/home/somebody" not in text
    assert str(results) not in text


def test_nothing_is_fetched_and_nothing_else_may_run(results: Path) -> None:
    text = page(collect(results, drawn=True))
    assert not re.findall(r'(?:src|href)="(?!data:,")', text)
    assert "@import" not in text
    assert "url(" not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    assert "unsafe" not in policy[1]


def test_values_are_those_of_the_results(results: Path) -> None:
    data = data_of(page(collect(results, drawn=True)))
    paths = {path.relative_to(results).as_posix(): read_result(path) for path in find_results(results)}
    assert len(data["results"]) == len(paths)
    stored = sorted(tuple(row[6][1::4]) for row in data["results"])
    expected = sorted(
        tuple(round(1000 * score.value) for score in (*one.scores, *one.secondary)) for one in paths.values()
    )
    assert stored == expected


def test_a_board_of_3600_results_is_below_a_megabyte_and_a_half(results: Path) -> None:
    board = collect(results, drawn=True)
    columns = [column for column in board.columns if not column.secondary]
    # 30 models in each of 10 tasks, 3 screens and 4 normalizations, each with its items.
    made = []
    for number in range(120):
        column = columns[number % len(columns)]
        entries = []
        for model in range(30):
            entry = column.entries[model % len(column.entries)]
            info = entry.result.model.model_copy(update={"id": f"model-{model}"})
            score = entry.score.model_copy(update={"value": 0.1 + model / 40 + number / 1000})
            result = entry.result.model_copy(update={"model": info, "scores": (score,)})
            path = f"{entry.path}#{number}-{model}"
            entries.append(dataclasses.replace(entry, label=info.label, path=path, result=result, score=score))
        made.append(dataclasses.replace(column, version=str(number), entries=tuple(entries)))
    rng = np.random.default_rng(0)
    groups = tuple(f"plate-of-a-long-name-{number % 6}" for number in range(200))
    wells = {
        entry.path.rpartition("/")[0] + f"#{number}": Projection(groups, groups, *rng.uniform(-1, 1, (2, 200, 2)))
        for number, entry in enumerate(entry for column in made for entry in column.entries)
        if number < 360
    }
    text = page(Board(tuple(made), (), wells))
    assert len(data_of(text)["results"]) == 3600
    assert len(data_of(text)["projections"]) == 360
    assert len(text.encode()) < 1_500_000


def test_items_that_cannot_be_read_are_one_sentence(results: Path) -> None:
    broken = results / "screen-one" / "alpha" / "center" / "gene-gene.items.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as items"):
        collect(results, drawn=True)


def test_no_end_tag_of_a_name_ends_the_data(tmp_path: Path) -> None:
    hostile = "</script><script>harm()</script>"
    places = np.zeros((1, 2))
    path = projection_path(tmp_path, "screen-one", "model", "center")
    write_projection(path, Projection((hostile,), (hostile,), places, places))
    write_board(tmp_path, {"model": ("official", "weights published", 0.5)}, ["screen-one"], revision=hostile)
    text = page(collect(tmp_path, drawn=True))
    assert text.count("</script>") == 2
    assert hostile in json.dumps(data_of(text))


def test_the_command_on_the_page_makes_the_result_again(
    screen_file: Path, annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(screen_file, annotations, "--model", "random", "--normalization", "center", "--seed", "3")
    assert done.exit_code == 0, done.output
    monkeypatch.setenv("PHENOBENCH_ANNOTATIONS", str(annotations))
    paths = find_results(Path("results"))
    assert len({path.parent.parent.name for path in paths}) == 2
    for path in paths[:2] + paths[-2:]:
        line = command(read_result(path)).replace("FILE", str(screen_file))
        again = phenobench(*shlex.split(line)[1:], "--results", "again")
        assert again.exit_code == 0, again.output
        made = read_result(Path("again") / path.relative_to("results"))
        assert made.model_dump(exclude={"run"}) == read_result(path).model_dump(exclude={"run"})


def test_names_in_a_command_are_quoted(results: Path) -> None:
    result = read_result(find_results(results)[0])
    hostile = result.model_copy(update={"screen": result.screen.model_copy(update={"id": "a; rm -rf ~"})})
    assert shlex.split(command(hostile))[shlex.split(command(hostile)).index("--screen") + 1] == "a; rm -rf ~"


def test_wells_lie_on_the_page_where_their_file_says(results: Path) -> None:
    rng = np.random.default_rng(0)
    made = Projection(("P1", "P2", ""), ("", "A, B, C", ""), *rng.uniform(-1, 1, (2, 3, 2)).round(3))
    write_projection(projection_path(results, "screen-two", "alpha", "none"), made)
    data = data_of(page(collect(results, drawn=True)))
    (stored,) = data["projections"]
    plates, of_plates, complexes, of_complexes, before, after = (data["pool"][number] for number in stored)
    assert (plates, of_plates, complexes, of_complexes) == (["P1", "P2"], "01.", ["A, B, C"], ".0.")
    letters = [letter for letter in map(chr, range(32, 127)) if letter not in '"\\<']
    for text, places in ((before, made.before), (after, made.after)):
        found = np.array([letters.index(letter) for letter in text]).reshape(2, 3).T / (len(letters) - 1)
        expected = (places - places.min(axis=0)) / np.ptp(places, axis=0)
        np.testing.assert_allclose(found, expected, atol=0.5 / (len(letters) - 1))
    # Of the results, only those of this model, screen and normalization have it: one of each of three tasks.
    assert sorted(row[10] for row in data["results"])[-4:] == [-1, 0, 0, 0]


def test_best_and_worst_perturbations_are_those_of_the_items(results: Path) -> None:
    import pandas as pd

    path = results / "screen-one" / "alpha" / "center" / "replicate-retrieval.items.parquet"
    means = pd.read_parquet(path).groupby("perturbation")["average_precision"].mean().sort_values(ascending=False)
    data = data_of(page(collect(results, drawn=True)))
    place = next(
        entry[0]
        for table in data["tables"]
        if (table["screen"], table["normalization"], table["task"]) == ("screen-one", "center", "replicate-retrieval")
        for entry in np.reshape(table["columns"][0]["entries"], (-1, 5)).tolist()
        if data["models"][data["results"][entry[0]][0]]["id"] == "alpha"
    )
    _, n, ends = data["results"][place][9][0][:3]
    assert n == len(means)
    letters = [letter for letter in map(chr, range(32, 127)) if letter not in '"\\<']

    def number(text: str) -> int:
        return sum(letters.index(letter) * len(letters) ** place for place, letter in enumerate(reversed(text)))

    rows = [ends[start : start + 5] for start in range(0, len(ends), 5)]
    assert [data["names"][number(row[:3])] for row in rows] == list(means.index)
    assert [number(row[3:]) - 1000 for row in rows] == [round(1000 * value) for value in means]
