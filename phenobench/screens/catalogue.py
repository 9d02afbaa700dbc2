"""The catalogue of published profiles: cards that say where files are and how to read them, and fetching them.

A screen is listed when its source publishes the files at a fixed address, states a licence, and the files can be
scored as they are. BBBC021 is not: its labels have to be joined from two more tables.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from phenobench.downloads import fetch_file
from phenobench.errors import InputError
from phenobench.files import cache_dir, sha256_of

if TYPE_CHECKING:
    import pandas as pd

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
        revision: the commit that the addresses are pinned to.
        licence: as the source states it.
        source: the address of the repository.
        citation: what to cite, where the source names it.
        model: the id of the model whose embeddings these profiles are.
        note: what a reader of the scores should know.
        files: what to fetch.
        roles: role -> column.
        metadata_prefixes: what the names of metadata columns start with.
        negcon: ``Column=Value`` conditions of the negative controls.
        exclude: ``Column=Value`` conditions of wells to leave out.
        label: ``Column=Value:type`` conditions that give wells a type.
        nan: what happens to NaN features.
        derive: column -> how it is made where the files do not have it.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    licence: str
    source: Annotated[str, Field(pattern=r"^https://")]
    citation: str | None = None
    model: str
    note: str | None = None
    files: Annotated[tuple[ScreenFile, ...], Field(min_length=1)]
    roles: Mapping[str, str]
    metadata_prefixes: tuple[str, ...] = ("Metadata_",)
    negcon: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    nan: Literal["error", "drop-features", "drop-wells"] = "error"
    derive: Mapping[str, Derived] = Field(default_factory=dict)


def find_screens() -> dict[str, Path]:
    """The cards of the catalogue: screen id -> path."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def load_card(path: Path) -> ScreenCard:
    """Read a screen's card.

    Raises:
        InputError: the file cannot be read, is no TOML, or a key is unknown, absent or wrong.
    """
    try:
        card = ScreenCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: the key '{key}' is wrong ({first['msg']}); correct the card") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a screen card ({error}); correct the card") from error
    if card.id != path.stem:
        raise InputError(f"{path}: the id '{card.id}' is not the file's name; give both the same name")
    return card


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
        from phenobench.tables import SUFFIXES

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


def add_derived(metadata: pd.DataFrame, derive: Mapping[str, Derived]) -> pd.DataFrame:
    """Add the derived columns that the metadata does not have yet.

    Raises:
        InputError: the column to derive from is not there.
    """
    for name, rule in derive.items():
        if name in metadata:
            continue
        if rule.column not in metadata:
            raise InputError(f"there is no column '{rule.column}' to make '{name}' from; check the screen's card")
        metadata = metadata.assign(**{name: metadata[rule.column].astype("str").str.extract(rule.pattern, expand=False)})
    return metadata
