"""The text side of cross-modal tasks: what is said of perturbations, and its embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from phenobench.descriptions import Description
from phenobench.errors import InputError
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.formats import column_names, read_label_table
from phenobench.profiles.labels import joined
from phenobench.profiles.reading import Reading, read_profiles
from phenobench.provenance import features_sha256, text_sha256
from phenobench.results import as_label

if TYPE_CHECKING:
    from phenobench.models.adapter import TextAdapter

# A file with this column holds texts, any other holds embeddings of them.
TEXT_COLUMN = "Metadata_Text"


@dataclass(frozen=True, eq=False)
class Texts:
    """One side of a cross-modal task.

    Attributes:
        rows: their labels, and their embeddings where these were given.
        descriptions: what models are to embed; none where embeddings were given.
        sha256: of all that.
        name: what its rows are called in sentences, for embeddings of another modality than text.
    """

    rows: Profiles
    descriptions: tuple[Description, ...] = ()
    sha256: str = ""
    name: str = "texts"

    @property
    def embedded(self) -> bool:
        """Whether the rows have embeddings of their own, for any model."""
        return not self.descriptions


def from_descriptions(descriptions: Sequence[Description]) -> Texts:
    """Descriptions that are to be embedded, as the rows of a table without features."""
    digest = text_sha256(*map(repr, descriptions))
    return Texts(_rows(descriptions, np.empty((len(descriptions), 0), np.float32)), tuple(descriptions), digest)


def from_profiles(rows: Profiles, name: str = "texts") -> Texts:
    """Embeddings that are there, a row or more a perturbation; ``name`` is what sentences call them."""
    return Texts(rows, (), features_sha256(rows.features, rows.feature_names), name)


def read_texts(path: str, reading: Reading, columns: Mapping[str, str] | None = None) -> Texts:
    """Read texts (a column ``Metadata_Text``) or embeddings (a column a feature), a row or more a perturbation.

    Args:
        path: of the file; embeddings may be in several, by a folder or a glob.
        reading: of the profiles: its column of perturbations holds here too, and by its spellings of perturbations are
            numbers spelled.
        columns: role -> column of this file, which goes before.

    Raises:
        InputError: unreadable, no perturbations, an empty text, or two texts for one perturbation.
    """
    own = {role: name for role, name in reading.columns.items() if role == "perturbation"} | dict(columns or {})
    how = Reading(
        columns=own,
        prefixes=reading.prefixes,
        wells=False,
        spellings=reading.spellings,
        nan=reading.nan,
    )
    if Path(path).is_file() and TEXT_COLUMN in column_names(Path(path)):
        return from_descriptions(_read_descriptions(Path(path), own.get("perturbation", ROLES["perturbation"]), how))
    rows = read_profiles([path], how)
    if "perturbation" not in rows.roles:
        raise InputError(_no_label(path))
    return from_profiles(rows, name=as_label(Path(path).name.split(".")[0]))


def _no_label(path: str | Path) -> str:
    return (
        f"{path}: no row has a perturbation (default {ROLES['perturbation']}); name the column that both sides share "
        "with --column perturbation=NAME, or that of this file with --texts-column perturbation=NAME"
    )


def _read_descriptions(path: Path, label: str, reading: Reading) -> list[Description]:
    table = read_label_table(path, spellings=reading.spellings)
    parts = [label] if label in table else label.split(",")
    absent = [part for part in parts if part not in table]
    if absent:
        raise InputError(f"{path} has no column '{absent[0]}'; {_no_label(path)}")
    labels = table[label] if label in table else joined([table[part].to_numpy() for part in parts])
    said: dict[str, str] = {}
    for row, (name, text) in enumerate(zip(labels, table[TEXT_COLUMN], strict=True), start=1):
        if name is None:
            continue
        if text is None:
            raise InputError(f"{path}: row {row} ({name}) has no text in {TEXT_COLUMN}; give it one, or remove the row")
        known = said.setdefault(name, text)
        if known != text:
            raise InputError(f"{path}: '{name}' has two texts, '{known[:60]}' and '{text[:60]}'; keep one")
    if not said:
        raise InputError(_no_label(path))
    return [Description(name, name=name, text=text) for name, text in sorted(said.items())]


def prompts(adapter: TextAdapter, descriptions: Sequence[Description]) -> list[str]:
    """What a model is told of each perturbation: the text that was given, else its own prompt."""
    return [adapter.prompt(one) if one.text is None else one.text for one in descriptions]


def embed_texts(adapter: TextAdapter, texts: Texts, cache: Path) -> Profiles:
    """Embeddings of descriptions by a model, a row a perturbation; kept in ``cache`` by weights and prompts.

    Raises:
        InputError: a text is too long for the model, or it has no tokenizer.
    """
    said = prompts(adapter, texts.descriptions)
    key = text_sha256(adapter.weights_sha256, adapter.precision, *said)
    path = cache / "texts" / f"{adapter.id}-{key[:24]}.parquet"
    if path.exists():
        there = read_profiles([str(path)], Reading(wells=False))
        if there.key == key:
            return there
    rows = _rows(texts.descriptions, adapter.embed_texts(said), key)
    rows.write(path)
    return rows


def _rows(descriptions: Sequence[Description], features: np.ndarray, key: str = "") -> Profiles:
    metadata = pd.DataFrame({ROLES["perturbation"]: [one.perturbation for one in descriptions]})
    return Profiles(metadata, features, key=key)
