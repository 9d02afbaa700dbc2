"""The command line: the commands put together, and what is said where the input is at fault."""

from __future__ import annotations

import sys
from typing import Any

import typer

from phenobench.commands import inventory, models, results, scoring

_HELP = "Score Cell Painting embeddings, with exact chance, intervals, controls and provenance."


class _Commands(typer.core.TyperGroup):
    """Commands that end in one sentence: with exit code 2 where the input is at fault, with 143 at a SIGTERM."""

    def invoke(self, ctx: Any) -> Any:
        from phenobench.errors import InputError, one_line
        from phenobench.termination import EXIT_CODE, Terminated, terminable

        try:
            with terminable():
                return super().invoke(ctx)
        except Terminated:
            sys.stderr.write("phenobench: ended by SIGTERM; what is done is kept, and the same command goes on\n")
            raise typer.Exit(EXIT_CODE) from None
        except InputError as error:
            # Not through rich: a path must not be wrapped or coloured in a log.
            sys.stderr.writelines(f"phenobench: {one_line(sentence)}\n" for sentence in error.sentences)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Commands,
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (
    scoring.run,
    scoring.score,
    scoring.normalize,
    models.embed,
    models.train,
    results.leaderboard,
    results.figures,
    results.compare,
    results.check,
):
    app.command()(_command)
app.command("list")(inventory.list_things)

data_app = typer.Typer(help="Fetch data sets, annotations and weights.", no_args_is_help=True)
data_app.command("get")(inventory.data_get)
app.add_typer(data_app, name="data")

screen_app = typer.Typer(help="Look at a screen.", no_args_is_help=True)
screen_app.command("preview")(inventory.screen_preview)
screen_app.command("left-out")(inventory.screen_left_out)
app.add_typer(screen_app, name="screen")
