"""The catalogue of published profiles: cards that say where files are and how to read them, and fetching them.

A screen is listed when its source publishes the files at a fixed address, states a licence, and the files can be
scored as they are. BBBC021 is not: its labels have to be joined from two more tables.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from phenobench.cards import load
from phenobench.downloads import fetch_file
from phenobench.errors import InputError
from phenobench.files import cache_dir, sha256_of
from phenobench.profiles.formats import SUFFIXES
from phenobench.profiles.reading import Reading, read_profiles
from phenobench.screens import Screen, screen_of

_log = logging.getLogger("phenobench")


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScreenFile(_Card):
    """One published file; ``sha256`` and ``size`` are absent where they are not known."""

    url: Annotated[str, Field(pattern=r"^https://[^?#]+/[^/?#]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(gt=0)] | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


class Derived(_Card):
    """A metadata column made from another: the first group of ``pattern``, missing where it does not match."""

    column: str
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(f"'{pattern}' has {groups} groups and needs one")
        return pattern


class ScreenCard(_Card):
    """A published screen whose profiles can be fetched, and how to read them.

    Attributes:
        id: the name that users give, and the stem of the card's file.
        title: one line for lists.
        kind: published profiles, in place of images.
        revision: the commit that the addresses are pinned to.
        licence: as the source states it.
        source: the address of the repository.
        citation: what to cite, where the source names it.
        model: the id of the model whose embeddings these profiles are.
        part_of: the collections that its images are from, by the names that model cards say they were trained on.
        note: what a reader of the scores should know.
        files: what to fetch.
        roles: role -> column.
        metadata_prefixes: what the names of metadata columns start with, beside ``Metadata_``.
        negcon: ``Column=Value`` conditions of the negative controls.
        exclude: ``Column=Value`` conditions of wells to leave out.
        label: ``Column=Value:type`` conditions that give wells a type.
        nan: what happens to NaN features.
        derive: column -> how it is made where the files do not have it.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    kind: Literal["profiles"]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    licence: str
    source: Annotated[str, Field(pattern=r"^https://")]
    citation: str | None = None
    part_of: tuple[str, ...] = ()
    model: str
    note: str | None = None
    files: Annotated[tuple[ScreenFile, ...], Field(min_length=1)]
    roles: Mapping[str, str]
    metadata_prefixes: tuple[str, ...] = ()
    negcon: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    nan: Literal["error", "drop-features", "drop-wells"] = "error"
    derive: Mapping[str, Derived] = Field(default_factory=dict)


def load_profiles_screen(path: Path, root: Path | None, asked: Reading | None = None) -> Screen:
    """The screen of a card, read from its files (see ``fetch``), with the exclusions and features that are asked for.

    Raises:
        InputError: the card is malformed, or its files cannot be had or read.
    """
    card = load(path, ScreenCard)
    reading = Reading(
        columns=card.roles,
        prefixes=card.metadata_prefixes,
        negcon=card.negcon,
        exclude=(*card.exclude, *(asked.exclude if asked else ())),
        exclude_files=asked.exclude_files if asked else (),
        feature_prefixes=asked.feature_prefixes if asked else (),
        keep_features=asked.keep_features if asked else (),
        label=card.label,
        nan=card.nan,
        derive={name: (rule.column, rule.pattern) for name, rule in card.derive.items()},
    )
    profiles = read_profiles([str(file) for file in fetch(card, root)], reading)
    screen = screen_of(profiles, card.id, revision=card.revision, licence=card.licence, model=card.model)
    return replace(screen, notes=(*screen.notes, card.note)) if card.note else screen


def fetch(card: ScreenCard, root: Path | None = None) -> list[Path]:
    """The screen's files, in the card's order: downloaded into the cache or, with ``root``, from that folder.

    A root that has none of the files but exactly one file of profiles is taken to hold them in that one.

    Raises:
        InputError: a file cannot be downloaded, is absent from ``root``, or has another hash than the card says.
    """
    if root is not None:
        return _from_folder(card, root)
    folder = cache_dir() / "screens" / card.id
    absent = [file for file in card.files if not (folder / file.name).exists()]
    if absent:
        _log.info("fetching %s (%s files, licence %s) from %s", card.id, len(absent), card.licence, card.source)
    return [fetch_file(file.url, folder / file.name, file.sha256) for file in card.files]


def _from_folder(card: ScreenCard, root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give the folder that holds the files of {card.id}")
    paths = [root / file.name for file in card.files]
    absent = [path.name for path in paths if not path.is_file()]
    if len(absent) == len(paths):
        profiles = [path for path in sorted(root.iterdir()) if path.is_file() and path.name.endswith(SUFFIXES)]
        if len(profiles) == 1:
            return profiles
    if absent:
        raise InputError(
            f"{root} lacks {absent[0]}, one of {len(absent)} absent files of {card.id}; "
            f"put them there, or leave the root out to download them from {card.source}"
        )
    for path, file in zip(paths, card.files, strict=True):
        if file.sha256 and sha256_of(path) != file.sha256:
            raise InputError(
                f"{path} is not the file that {card.id} names (its sha256 is not {file.sha256}); "
                f"replace it with {file.url}"
            )
    return paths
