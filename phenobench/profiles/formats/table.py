"""One file of profiles as it is: columns of metadata under their own names, and a matrix of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt

from phenobench.profiles.feature_columns import feature_prefixes, listed
from phenobench.profiles.precision import loses

if TYPE_CHECKING:
    import pyarrow as pa


class Record(BaseModel):
    """What phenobench writes beside profiles: the fields of ``Profiles`` that are neither wells nor features.

    Attributes:
        steps: see ``Profiles``, as ``dropped``, ``notes`` and ``key``.
        roles: the column that plays a role where it is not the role's own.
        metadata: metadata columns whose names do not start with ``Metadata_``.
        features: features whose names are those of something else.
    """

    model_config = ConfigDict(frozen=True)

    steps: tuple[Mapping[str, Any], ...] = ()
    dropped: Mapping[str, NonNegativeInt] = {}
    notes: tuple[str, ...] = ()
    key: str = ""
    roles: Mapping[str, str] = {}
    metadata: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A file as it is.

    Attributes:
        metadata: columns under the file's own names, each once.
        features: float32 (n, d); what is too large for float32 is infinite, what is absent NaN.
        feature_names: d names, each once.
        record: what phenobench wrote beside its profiles, empty for other files.
        notes: how the file was understood.
        exact: features that float32 keeps too coarsely, in float64 (n,), by name.
        coarse: features that the file itself keeps too coarsely.
        bare: whether a role's column needs no prefix, as in an AnnData's ``obs``.
    """

    metadata: pa.Table
    features: np.ndarray
    feature_names: tuple[str, ...]
    record: Record = field(default_factory=Record)
    notes: tuple[str, ...] = ()
    exact: Mapping[str, np.ndarray] = field(default_factory=dict)
    coarse: tuple[str, ...] = ()
    bare: bool = False


class FeatureMatrix:
    """A matrix that is filled column by column, float32 (n, d) in Fortran order; it sees what float32 loses."""

    def __init__(self, n: int, names: Sequence[str]) -> None:
        self.values = np.empty((n, len(names)), dtype=np.float32, order="F")
        self.names = tuple(name.strip() for name in names)
        self.exact: dict[str, np.ndarray] = {}
        self.coarse: list[str] = []

    def fill(self, column: int, chunks: Sequence[np.ndarray]) -> None:
        """Write a column, given in pieces."""
        target, start = self.values[:, column], 0
        for chunk in chunks:
            with np.errstate(over="ignore"):
                target[start : start + len(chunk)] = chunk
            start += len(chunk)
        in_double = not any(chunk.dtype.kind == "f" and chunk.dtype.itemsize < 8 for chunk in chunks)
        if in_double and loses(np.concatenate([_some(chunk) for chunk in chunks]) if len(chunks) != 1 else chunks[0]):
            self.exact[self.names[column]] = np.concatenate(chunks).astype(np.float64)
        elif not in_double and loses(target):
            self.coarse.append(self.names[column])


def _some(values: np.ndarray) -> np.ndarray:
    """Some of the values, at equal steps."""
    return values[:: max(1, len(values) // 256)]


def text_fault(path: Path, text_columns: Sequence[str], numbers: Sequence[str]) -> str:
    """The sentence for columns of text that have no role, with the options that would tell them from features."""
    many = len(text_columns) > 1
    starts = feature_prefixes(numbers, text_columns)
    by_prefix = (
        f"say what features start with, {' '.join(f'--feature-prefix {start}' for start in starts)}, or "
        if starts
        else ""
    )
    return (
        f"{path}: the feature column{'s' if many else ''} {listed(text_columns, 10)} hold{'' if many else 's'} text, "
        f"not numbers; {by_prefix}give {'them roles' if many else 'it a role'} with --column, or name "
        f"{'their' if many else 'its'} prefix with --metadata-prefix"
    )
