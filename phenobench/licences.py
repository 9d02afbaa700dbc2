"""Licences that have to be accepted before something is fetched. What a user gives by path is never asked about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from phenobench.cards import Cards, DataFile, HubFile
from phenobench.errors import InputError, unknown

if TYPE_CHECKING:
    from phenobench.suite import Suite


def accepted_licences(given: Sequence[str], suite: Suite, cards: Cards) -> frozenset[str]:
    """Ids whose licences the user accepts, by ``--accept-licence`` or in the suite file.

    Raises:
        InputError: an id among ``given`` is neither a model's nor a screen's.
    """
    known = {*cards.models, *cards.screens}
    for id in given:
        if id not in known:
            raise unknown("model or screen", id, known)
    return frozenset([*given, *suite.licences.accept])


def require_accepted(id: str, files: Iterable[HubFile], accepted: Collection[str]) -> None:
    """Refuse to fetch files of a model or screen whose licence asks for acceptance and has none.

    Raises:
        InputError: naming the model or screen, the licence, where to read it, and how to accept it.
    """
    asking = [file for file in files if file.accept]
    if asking and id not in accepted:
        pages = " and ".join(dict.fromkeys(hub_page(file) for file in asking))
        raise InputError(
            f"the files of {id} are under a licence that you have to accept first, {asking[0].licence}; "
            f"read it at {pages}, then add --accept-licence {id}, "
            f'or to benchmark.toml: [licences] accept = ["{id}"]'
        )


def hub_page(file: HubFile) -> str:
    """The page of a repository, where its licence stands and access is asked for."""
    folder = "datasets/" if isinstance(file, DataFile) else ""
    return f"https://huggingface.co/{folder}{file.hub}"
