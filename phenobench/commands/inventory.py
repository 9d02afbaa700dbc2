"""Commands that show and fetch what there is: ``list``, ``screen preview`` and ``data get``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phenobench.options import AcceptLicence, CardFolder


def list_things(
    what: Annotated[str, typer.Argument(help="models, tasks, screens, normalizations or annotations.")],
) -> None:
    """List what there is, with licence, status and origin."""
    from phenobench.display import show_list

    show_list(what)


def screen_preview(
    screen: Annotated[str, typer.Argument(help="A screen's id, or a folder with screen.csv.")],
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write.")],
) -> None:
    """A montage of fields by channel and plate, so that one can see what is scored."""
    from phenobench.display import show_messages
    from phenobench.screens import load_screen
    from phenobench.screens.preview import preview
    from phenobench.suite import load_suite

    show_messages()
    preview(load_screen(screen, load_suite().root(screen)), out)
    typer.echo(out)


def data_get(
    name: Annotated[str, typer.Argument(help="'annotations', or the id of a screen or of a model with weights.")],
    accept_licence: AcceptLicence = None,
    cards: CardFolder = None,
) -> None:
    """Download and verify a data set, or the published weights of a model."""
    from phenobench.data import get
    from phenobench.display import show_messages

    show_messages()
    for path in get(name, accept_licence or (), cards):
        typer.echo(path)
