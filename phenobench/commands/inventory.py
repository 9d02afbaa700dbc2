"""Commands that show and fetch what there is: ``list``, ``screen`` and ``data get``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenobench.options import (
    AcceptLicence,
    CardFolder,
    ProfileFiles,
    reads_profiles,
)

if TYPE_CHECKING:
    from phenobench.profiles.reading import Reading


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


@reads_profiles
def screen_left_out(
    reading: "Reading",
    screen: Annotated[str | None, typer.Argument(help="A screen's id, or a folder with screen.csv.")] = None,
    profiles: ProfileFiles = None,
    out: Annotated[Path | None, typer.Option("--out", help="A CSV file to write them to, in place of a table.")] = None,
    cards: CardFolder = None,
) -> None:
    """Name the wells of a screen, or of embeddings in files, that take no part in scores, and say why."""
    from phenobench.display import show_left_out, show_messages
    from phenobench.errors import InputError
    from phenobench.profiles.left_out import write
    from phenobench.profiles.reading import read_profiles
    from phenobench.screens import load_screen, screen_of
    from phenobench.suite import load_suite

    show_messages()
    if bool(screen) == bool(profiles):
        raise InputError("name either a screen or, with --profiles, files of embeddings")
    if profiles:
        found = screen_of(read_profiles(profiles, reading), "these profiles", model="given")
    else:
        found = load_screen(str(screen), load_suite().root(str(screen)), cards=cards, reading=reading)
    if out is None:
        show_left_out(found)
    else:
        write(found.left_out, out)
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
