"""What ``phenobench data get NAME`` fetches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from phenobench.errors import unknown


def get(name: str, accept: Sequence[str] = (), cards: Path | None = None) -> list[Path]:
    """Download and verify a data set, or the published weights of a model.

    Args:
        name: ``annotations``, the id of a screen of the catalogue, or a model's.
        accept: ids whose licences the user accepts, besides those of the suite file.
        cards: a folder of cards that goes before the others.

    Returns:
        The files, now in the user's cache folder, or for weights in the hub's.

    Raises:
        InputError: nothing has that name, a licence is not accepted, or something cannot be fetched.
    """
    from phenobench.cards import find, load, read_toml
    from phenobench.licences import accepted_licences
    from phenobench.suite import load_suite

    found = find(cards)
    accepted = accepted_licences(accept, load_suite(), found)
    if name == "annotations":
        from phenobench.annotations import SOURCES, get_annotations

        folder = get_annotations()
        return [folder / f"{source}.txt" for source in SOURCES]
    kinds = {id: read_toml(path).get("kind") for id, path in found.screens.items()}
    screens = {id: path for id, path in found.screens.items() if kinds[id] not in (None, "simulated")}
    if name in found.models:
        from phenobench.hub import fetch_weights

        return fetch_weights(found.model(name), accepted)
    if name not in screens:
        raise unknown("data set", name, ["annotations", *screens, *found.models])
    if kinds[name] == "gallery":
        from phenobench.screens.cellpainting_gallery import fetch_gallery

        return fetch_gallery(screens[name])
    if kinds[name] in ("rxrx3-core", "rxrx3-core-embeddings"):
        from phenobench.screens import rxrx3_core

        return rxrx3_core.fetch(screens[name], accepted, cards)
    from phenobench.screens.catalogue import ScreenCard, fetch

    if kinds[name] == "profiles":
        return fetch(load(screens[name], ScreenCard))
    from phenobench.screens.paired import PairedCard

    pair = load(screens[name], PairedCard)
    return [path for half in (pair.images, pair.texts) for path in fetch(load(screens[half], ScreenCard))]
