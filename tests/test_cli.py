"""The commands as they are put together; what each does has tests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from phenobench.cli import app
from tests.regression.planted import phenobench, profiles, score


def test_the_commands_are_those_of_the_plan() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == {  # type: ignore[attr-defined]
        "run",
        "score",
        "normalize",
        "embed",
        "train",
        "leaderboard",
        "figures",
        "compare",
        "check",
        "list",
        "data",
        "screen",
    }
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help, name


@pytest.mark.parametrize("form", ["markdown", "csv", "html"])
def test_the_leaderboard_is_printed_or_written_whole(form: str) -> None:
    score(profiles(), "results")
    printed = phenobench("leaderboard", "--format", form)
    assert printed.exit_code == 0, printed.output
    written = phenobench("leaderboard", "--format", form, "--out", "pages/board")
    assert written.exit_code == 0
    assert written.stdout == "pages/board\n"
    assert Path("pages/board").read_text(encoding="utf-8") == printed.stdout
    assert "mine" in printed.stdout
    assert [path.name for path in Path("pages").iterdir()] == ["board"]


def test_a_leaderboard_of_nothing_and_an_unknown_form_are_one_sentence() -> None:
    nothing = phenobench("leaderboard", "--results", "nowhere")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (2, 1)
    unknown = phenobench("leaderboard", "--format", "htm")
    assert unknown.exit_code == 2
    assert "did you mean html" in unknown.stderr
