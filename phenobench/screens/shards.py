"""Parquet shards of encoded images: where each well's images lie, and reading those of some wells alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


class Layout(BaseModel):
    """What a card says of the shards.

    Attributes:
        file: the name of a shard, with the fields ``number`` and ``count``.
        count: how many there are.
        key: the column that names an image.
        pattern: a regular expression of keys with the groups ``well`` and ``channel``, a number from 1.
        image: the column of the encoded images, bare or in the field ``bytes`` of a struct, as the hub writes images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    count: Annotated[int, Field(ge=1)]
    key: str
    pattern: str
    image: str

    @property
    def files(self) -> list[str]:
        """The names of all shards, in order."""
        return [self.file.format(number=number, count=self.count) for number in range(self.count)]


@dataclass(frozen=True, eq=False)
class Shards:
    """Shards and where their rows are; rows are counted over all shards.

    Attributes:
        files: the shards.
        starts: the first row of each row group, and last the number of all rows, int64 (g + 1,).
        groups: the shard and its own number of each row group, int64 (g, 2).
        image: the column of the encoded images.
        rows: the row of each well's channels, int64 (wells, channels), -1 where the shards have no image.
        strangers: wells of images, or keys of another form, that are none of the wells; sorted.
    """

    files: tuple[Path, ...]
    starts: np.ndarray
    groups: np.ndarray
    image: str
    rows: np.ndarray
    strangers: tuple[str, ...]

    def read(self, rows: np.ndarray) -> dict[int, bytes | None]:
        """The encoded images of rows; no more than one row group is held beside them.

        Raises:
            InputError: a shard is damaged.
        """
        rows = np.unique(rows)
        group = np.searchsorted(self.starts, rows, side="right") - 1
        found: dict[int, bytes | None] = {}
        for file in np.unique(self.groups[group, 0]):
            with _opened(self.files[file]) as shard:
                for wanted in np.unique(group[self.groups[group, 0] == file]):
                    of_group = rows[group == wanted]
                    table = shard.read_row_group(int(self.groups[wanted, 1]), columns=[self.image])
                    images = _encoded(table.column(0), of_group - self.starts[wanted])
                    found.update(zip(of_group.tolist(), images, strict=True))
        return found


def find_images(files: Sequence[Path], layout: Layout, wells: Sequence[str], channels: Sequence[str]) -> Shards:
    """Find the images of wells, from the keys alone.

    Args:
        files: the shards.
        layout: how to read them.
        wells: as keys name them, each once.
        channels: their names, in the order of the numbers in keys.

    Raises:
        InputError: a shard cannot be read or lacks a column, an image is there twice, or a well lacks some channels.
    """
    index = pd.Index(wells)
    rows = np.full((len(wells), len(channels)), -1, dtype=np.int64)
    lengths: list[int] = []
    groups: list[tuple[int, int]] = []
    strangers: set[str] = set()
    first = matched = 0
    for number, path in enumerate(files):
        with _opened(path) as shard:
            for column in (layout.key, layout.image):
                if column not in shard.schema_arrow.names:
                    raise InputError(
                        f"{path} has no column '{column}' (it has {', '.join(shard.schema_arrow.names) or 'none'}); "
                        "give a shard of the data set"
                    )
            keys = shard.read(columns=[layout.key]).column(0)
            well, channel = _parsed(keys, layout.pattern, index)
            sizes = [shard.metadata.row_group(i).num_rows for i in range(shard.num_row_groups)]
        known = (well >= 0) & (channel >= 0) & (channel < len(channels))
        rows[well[known], channel[known]] = first + np.flatnonzero(known)
        matched += int(known.sum())
        strangers.update(_named(keys.take(np.flatnonzero(~known)), layout.pattern))
        first += len(well)
        lengths += sizes
        groups += [(number, i) for i in range(len(sizes))]
        if matched > np.count_nonzero(rows >= 0):
            raise InputError(f"{path} has an image that is there already, in it or in an earlier shard; fetch it again")
    absent = rows < 0
    some = absent.any(axis=1) & ~absent.all(axis=1)
    if some.any():
        at = int(some.argmax())
        raise InputError(
            f"the well {wells[at]} has no image of the channel {channels[int(absent[at].argmax())]} in the "
            f"{len(files)} shards beside {files[0]} ({int(some.sum())} such wells); fetch the shards again"
        )
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Shards(tuple(files), starts, np.array(groups).reshape(-1, 2), layout.image, rows, tuple(sorted(strangers)))


def _parsed(keys: pa.ChunkedArray, pattern: str, wells: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Place of the well and channel from 0 of each key, int64 (n,) each, -1 where the key is of another form."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.extract_regex(keys.combine_chunks().cast(pa.string()), pattern)
    named = pc.dictionary_encode(pc.struct_field(parts, "well"))
    place = np.append(wells.get_indexer(pd.Index(named.dictionary.to_pylist(), dtype=object)), -1)
    channel = pc.fill_null(pc.cast(pc.struct_field(parts, "channel"), pa.int64()), 0)
    # The code of a key of another form is null, and stands for the -1 at the end.
    return place[pc.fill_null(named.indices, len(place) - 1).to_numpy()].astype(np.int64), channel.to_numpy() - 1


def _named(keys: pa.ChunkedArray, pattern: str) -> list[str]:
    """The wells that keys name, or the keys of another form."""
    return pd.Series(keys.to_pylist(), dtype=object).str.replace(pattern, r"\g<well>", regex=True).tolist()


def _encoded(column: pa.ChunkedArray, rows: np.ndarray) -> list[bytes | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    taken = column.take(rows)
    images: list[bytes | None] = (
        pc.struct_field(taken, "bytes") if pa.types.is_struct(taken.type) else taken
    ).to_pylist()
    return images


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be read as parquet ({reason}); it may be truncated: fetch it again") from error
