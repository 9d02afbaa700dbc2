"""The card of a screen of the Cell Painting Gallery: which plates, where its files are, and how to read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_Url = Annotated[str, Field(pattern=r"^https://[^?#]+/[^/?#]+$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Folder = Annotated[str, Field(pattern=r"^[^/]+$")]


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Batch(_Card):
    """``[[batches]]``: plates of one batch.

    Attributes:
        source: the folder of who made them, below the project's.
        name: the batch's folder.
        plates: their barcodes; none given are all that the card's table of plates or, without one, the batch's
            ``barcode_platemap.csv`` has.
    """

    source: _Folder
    name: _Folder
    plates: tuple[_Folder, ...] = ()


class Table(_Card):
    """``[[tables]]``: a table of metadata whose columns are joined to the wells; csv, tsv or txt, gzipped or not.

    Attributes:
        url: a pinned address, or
        key: where it is in the bucket.
        sha256: of the file; what a key names is otherwise held to its first hash.
        on: column of the wells -> column of the table; rows are joined where all agree.
        platemap: only wells of this platemap are joined; others have a table of their own.
    """

    url: _Url | None = None
    key: str | None = None
    sha256: _Sha256 | None = None
    on: Annotated[Mapping[str, str], Field(min_length=1)]
    platemap: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.key is None):
            raise ValueError("give either url or key")
        return self


class LoadData(_Card):
    """``[images]`` of layout "load-data": a table of CellProfiler a plate names the files.

    Attributes:
        table: the name of the table, such as ``load_data.csv`` or ``load_data_with_illum.parquet``.
    """

    layout: Literal["load-data"]
    table: str = "load_data.csv"


class FileNames(_Card):
    """``[images]`` of layout "file-names": files of a plate say themselves what they are.

    Attributes:
        pattern: a regular expression for a file's path below the plate's folder, with the groups
            ``site``, ``channel`` and either ``well``, or ``row`` and ``column`` as numbers; files that
            do not match are none of the screen's.
    """

    layout: Literal["file-names"]
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _groups(cls, pattern: str) -> str:
        try:
            groups = set(re.compile(pattern).groupindex)
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression ({error})") from error
        if groups not in ({"well", "site", "channel"}, {"row", "column", "site", "channel"}):
            raise ValueError(f"'{pattern}' needs the groups site, channel, and well or row and column")
        return pattern


class GalleryCard(_Card):
    """``screens/<id>.toml`` of kind "gallery".

    Attributes:
        id: the name that users give, and the stem of the card's file.
        title: one line for lists.
        licence: as the source states it.
        source: where to read about the screen.
        citation: what to cite.
        part_of: the collections that its images are from, by the names that model cards say they were trained on.
        note: what a reader of the scores should know.
        bucket: the bucket on S3, read without credentials.
        region: the bucket's.
        project: the screen's folder there, ``cpg...``.
        batches: the plates.
        images: how files of images are found.
        channels: channel -> what files or columns call it; the first name that is there is taken.
        illumination: divide images by the illumination functions of their plate.
        wells: the wells' table if that is no platemap, such as JUMP's ``well.csv.gz``.
        plates: a table of plates with their sources and batches, such as JUMP's ``plate.csv.gz``.
        tables: joined to the wells, in order; a column that is there already is only filled where empty.
        roles: role -> column; ``A,B`` joins two.
        controls: type -> ``Column=Value`` conditions; an empty value names wells without one.
        exclude: ``Column=Value`` conditions of wells to leave out.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    kind: Literal["gallery"]
    licence: str
    source: Annotated[str, Field(pattern=r"^https://")]
    citation: str | None = None
    part_of: tuple[str, ...] = ()
    note: str | None = None
    bucket: str
    region: str
    project: _Folder
    batches: Annotated[tuple[Batch, ...], Field(min_length=1)]
    images: Annotated[LoadData | FileNames, Field(discriminator="layout")]
    channels: Annotated[Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]], Field(min_length=1)]
    illumination: bool = False
    wells: Table | None = None
    plates: Table | None = None
    tables: tuple[Table, ...] = ()
    roles: Mapping[str, str]
    controls: Mapping[Literal["negcon", "poscon", "empty"], tuple[str, ...]]
    exclude: tuple[str, ...] = ()

    @field_validator("roles")
    @classmethod
    def _places_are_given(cls, roles: Mapping[str, str]) -> Mapping[str, str]:
        for role in ("source", "plate", "well"):
            if role in roles:
                raise ValueError(f"the {role} is given by the gallery's layout; leave it out")
        return roles

    @model_validator(mode="after")
    def _plates_are_named(self) -> Self:
        named = all(batch.plates for batch in self.batches)
        if self.wells is not None and self.plates is None and not named:
            raise ValueError("batches need plates, or the card a table of plates, where the wells are no platemaps")
        if self.plates is not None and self.wells is None:
            raise ValueError("a table of plates goes with a table of wells; platemaps have their own")
        return self
