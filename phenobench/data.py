"""What ``phenobench data get NAME`` fetches."""

from __future__ import annotations

from pathlib import Path

from phenobench.errors import unknown


def get(name: str) -> list[Path]:
    """Download and verify a data set.

    Args:
        name: ``annotations`` or the id of a screen of the catalogue.

    Returns:
        The files, now in the user's cache folder.

    Raises:
        InputError: nothing has that name, or something cannot be fetched.
    """
    from phenobench.cards import find, load, read_toml

    if name == "annotations":
        from phenobench.annotations import SOURCES, get_annotations

        folder = get_annotations()
        return [folder / f"{source}.txt" for source in SOURCES]
    screens = {id: path for id, path in find().screens.items() if read_toml(path).get("kind") == "profiles"}
    if name not in screens:
        raise unknown("data set", name, ["annotations", *screens])
    from phenobench.screens.catalogue import ScreenCard, fetch

    return fetch(load(screens[name], ScreenCard))
