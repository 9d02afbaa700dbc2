"""What others read of a check: annotations that GitHub parses, and Markdown that shows names as they are."""

from __future__ import annotations

import re

import pytest

from phenobench.regression import show
from phenobench.regression.verdict import Changed, Checked, Missing
from tests.regression.planted import phenobench, profiles, score

NASTY = "x<img src=x>|[a](b)\n::error::stop"


def checked(**parts: object) -> Checked:
    from pathlib import Path

    nothing = {"cells": (), "same": 0, "near": 0, "unpaired": 0, "fell": (), "better": (), "new": ()}
    return Checked(
        **{"results": Path("r"), "baseline": Path("b"), "changed": (), "missing": (), **nothing, **parts}  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", ["text", "github", "markdown"])
def test_every_form_says_what_fell_and_ends_alike(name: str) -> None:
    score(profiles(), "baseline")
    score(profiles(noise=3.0), "results")
    done = phenobench("check", "--format", name)
    assert done.exit_code == 1
    plain = done.stdout.replace("\\", "")
    assert "screen / mine / center / replicate-retrieval: mAP from " in plain
    assert "fell most: " in plain
    assert phenobench("check", "--format", "yaml").exit_code == 2


def test_annotations_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    show(checked(missing=(Missing(NASTY, "the result"),), changed=(Changed("cell", "map.n", "100 %", "2"),)), "github")
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert len(commands) == 2
    assert all(re.fullmatch(r"::error title=phenobench check%3A [a-z ]+::.+", line) for line in commands)
    assert "100 %25" in commands[0]


def test_markdown_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(checked(missing=(Missing(NASTY, "the result"),)), "markdown")
    text = capsys.readouterr().out
    assert r"x\<img src=x\>\|\[a\](b) ::error::stop" in text
    assert not re.search(r"(?<!\\)[<|\[]", text)


def test_names_with_markup_reach_the_terminal_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(checked(missing=(Missing("[bold]x[/bold]", "the result"),)), "text")
    assert "[bold]x[/bold]: the result is not there" in capsys.readouterr().out
