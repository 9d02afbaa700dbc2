"""How a user wants files of profiles to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from phenobench.profiles.missing import NanPolicy
from phenobench.profiles.roles import METADATA_PREFIX


@dataclass(frozen=True)
class Reading:
    """How to read a file of profiles.

    Attributes:
        columns: role -> column name; ``A,B`` joins several, such as a compound and its dose; of the well, ``Row,Col``.
        prefixes: what the names of metadata columns start with, beside ``Metadata_``.
        negcon: conditions; matching wells are negative controls.
        exclude: conditions; matching wells are left out and counted.
        exclude_files: tables whose rows are conditions; matching wells are left out and counted.
        label: ``Column=Value:type`` conditions; matching wells get this ``pert_type``, and an
            empty perturbation becomes the value.
        nan: what happens to NaN and infinite features.
        derive: new column -> (column, pattern): the first group of a regular expression, missing
            where it does not match; a column that the file has already stays as it is.
        wells: whether rows are wells (those of the other modality need not be).
        feature_prefixes: what the names of features start with.
        keep_features: columns that are features although they look like none.
        layer: of an h5ad file, in place of X.
        obsm: the same.
        separators: role -> what stands between several labels in one cell.
        plate_from_file: a file is a plate.
        spellings: how perturbations are spelled elsewhere, for files that keep them as numbers.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    negcon: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    exclude_files: tuple[Path, ...] = ()
    label: tuple[str, ...] = ()
    nan: NanPolicy = "error"
    derive: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    wells: bool = True
    feature_prefixes: tuple[str, ...] = ()
    keep_features: tuple[str, ...] = ()
    layer: str | None = None
    obsm: str | None = None
    separators: Mapping[str, str] = field(default_factory=dict)
    plate_from_file: bool = False
    spellings: frozenset[str] = frozenset()

    @property
    def all_prefixes(self) -> tuple[str, ...]:
        """What the names of metadata columns start with."""
        return tuple(dict.fromkeys((METADATA_PREFIX, *self.prefixes)))

    @property
    def role_columns(self) -> frozenset[str]:
        """The columns that roles name, whole and in parts where they are joined."""
        return frozenset(part for name in self.columns.values() for part in (name, *name.split(",")))

    @property
    def conditions(self) -> tuple[str, ...]:
        """All conditions, without the types that they give."""
        return (*self.negcon, *self.exclude, *(text.rpartition(":")[0] for text in self.label))
