"""Two published screens of the same perturbations, one of images and one of another modality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from phenobench.cards import load
from phenobench.errors import InputError
from phenobench.screens import Screen, load_screen
from phenobench.texts import from_profiles


class PairedCard(BaseModel):
    """``screens/<id>.toml`` of kind "paired".

    Attributes:
        licence: of the data of both.
        source: where both are from.
        part_of: the collections that its images are from, by the names that model cards say they were trained on.
        images: the screen that is scored; a perturbation has one name in both.
        texts: the screen that brings the other modality.
        note: what a reader of the scores should know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    kind: Literal["paired"]
    licence: str
    source: str
    part_of: tuple[str, ...] = ()
    images: str
    texts: str
    note: str | None = None


def load_paired(path: Path, root: Path | None, cards: Path | None) -> Screen:
    """The image screen of a card with the other one's embeddings as its texts.

    ``root`` holds a folder of files for each of the two, named by its id.

    Raises:
        InputError: the card is malformed, or the files of either screen cannot be had or read.
    """
    card = load(path, PairedCard)
    images, other = (
        load_screen(id, None if root is None else root / id, cards=cards) for id in (card.images, card.texts)
    )
    if other.embeddings is None:
        raise InputError(f"{path}: the screen {card.texts} brings no embeddings to be the texts; name another")
    notes = (*images.notes, *other.notes, *filter(None, [card.note]))
    return replace(
        images,
        id=card.id,
        revision=f"{images.revision} and {other.revision}",
        licence=card.licence,
        texts=from_profiles(other.embeddings, name=other.id),
        notes=tuple(dict.fromkeys(notes)),
    )
