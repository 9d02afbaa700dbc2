"""Numbers that papers print, each with what it was measured on: quoted, and never ranked with measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from phenobench.cards import load, package_root

Number = FiniteFloat | Literal[""]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedTable(_Part):
    """``[[tables]]``: numbers of one protocol and one scale, a row a model and a column a subset.

    Attributes:
        where: number of the table, or section, in the paper.
        screen: what was measured on: the id of a screen, or the field's name for it.
        task: id of the task that asks the same.
        variant: the task's variant whose protocol and map come nearest; none where there is none.
        metric: as the paper calls it.
        unit: of the numbers as printed.
        map: what was compared with what, in words.
        protocol: what the paper says of it, in one sentence.
        grade: how sure the reading is: only what was read in the source itself is quoted.
        comparable: what keeps a measured number of the named variant from being set beside these, if anything.
        subsets: names of the columns.
        rows: a model's numbers, as many as there are subsets; "" for a cell that the paper leaves empty.
        spread: likewise, what the paper prints behind the plus-minus sign.
    """

    where: str
    screen: str
    task: str
    variant: str | None = None
    metric: str
    unit: Literal["fraction", "percent"]
    map: str
    protocol: str
    grade: Literal["verbatim"]
    comparable: str | None = None
    subsets: tuple[str, ...] = Field(min_length=1)
    rows: Mapping[str, tuple[Number, ...]] = Field(min_length=1)
    spread: Mapping[str, tuple[Number, ...]] = {}

    def printed(self, model: str) -> list[str]:
        """A model's numbers as text, with the digits that the table has and the spread where it is known."""
        numbers = [number for row in (*self.rows.values(), *self.spread.values()) for number in row if number != ""]
        digits = max((len(repr(number).partition(".")[2]) for number in numbers), default=0)
        spread = self.spread.get(model, ("",) * len(self.subsets))
        return [
            "" if value == "" else f"{value:.{digits}f}" + ("" if width == "" else f" ± {width:.{digits}f}")
            for value, width in zip(self.rows[model], spread, strict=True)
        ]

    @model_validator(mode="after")
    def _rows_are_whole(self) -> Self:
        for name, row in [*self.rows.items(), *self.spread.items()]:
            if len(row) != len(self.subsets):
                raise ValueError(f"row '{name}' has {len(row)} numbers and there are {len(self.subsets)} subsets")
        unknown = sorted(set(self.spread) - set(self.rows))
        if unknown:
            raise ValueError(f"spread has the row '{unknown[0]}', which rows has not")
        return self


class Paper(_Part):
    """``results/published/<id>.toml``.

    Attributes:
        title: short name of the paper.
        version: which version was read.
        address: where it is.
        read: what of it was read.
        tables: its numbers.
    """

    title: str
    version: str
    address: str = Field(pattern=r"^https://[\w./-]+$")
    read: str
    tables: tuple[PublishedTable, ...] = Field(min_length=1)


def read_published(results: Path) -> tuple[Paper, ...]:
    """The papers below ``results/published``, and those that come with the package; of one name, the former.

    Raises:
        InputError: a file is no TOML, or not as the schema says.
    """
    found: dict[str, Path] = {}
    for folder in (results / "published", package_root() / "results" / "published"):
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.name, path)
    return tuple(load(path, Paper) for _, path in sorted(found.items()))
