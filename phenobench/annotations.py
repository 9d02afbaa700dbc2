"""Annotated gene pairs: where they come from, under which licence, and how they are read."""

from __future__ import annotations

import csv
import io
import logging
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.downloads import fetch_wheel, scratch_folder
from phenobench.errors import InputError
from phenobench.files import atomic, cache_dir, sha256_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_log = logging.getLogger("phenobench")
HEADER = ["entity1", "entity2"]


@dataclass(frozen=True)
class Source:
    """A published table of annotated gene pairs."""

    name: str
    licence: str
    origin: str
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """The file of the Python package index that carries the tables, and the folder inside it."""

    name: str
    version: str
    file: str
    sha256: str
    folder: str


@dataclass(frozen=True)
class Annotations:
    """Gene pairs by source.

    Attributes:
        pairs: source -> pairs as ``read_pairs`` gives them.
        origins: source -> licence, origin, sha256 and n_pairs, as results carry them.
        skipped: source -> why its table is not there.
    """

    pairs: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)
    origins: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def _declared() -> tuple[Wheel, dict[str, Source]]:
    declared = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    wheel = Wheel(**declared["wheel"])
    origin = f"{wheel.name} {wheel.version} (pypi.org)"
    tables = {name: Source(name=name, origin=origin, **table) for name, table in declared["tables"].items()}
    return wheel, tables


WHEEL, SOURCES = _declared()


def read_pairs(path: Path) -> npt.NDArray[np.str_]:
    """Read a table of undirected gene pairs, ``NAME.txt`` with the header ``entity1,entity2``.

    Returns:
        (m, 2) str: each pair in alphabetical order, self pairs and duplicates dropped, rows sorted.

    Raises:
        InputError: the file cannot be read, has another header, a line that is no pair of names,
            or bytes that are no UTF-8; the message names the line.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as pa_csv

    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    # Names stay text: by default a column of numbers or of "true" would be something else.
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(HEADER, pa.string()))
    try:
        table = pa_csv.read_csv(pa.py_buffer(raw), convert_options=convert)
    except pa.ArrowInvalid as error:
        raise _fault(path, raw) from error
    if table.column_names != HEADER:
        raise _fault(path, raw)
    ends = pa.chunked_array(table["entity1"].chunks + table["entity2"].chunks, type=pa.string())
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(ends)).combine_chunks()
    names, rank = np.unique(np.array(encoded.dictionary.to_pylist(), dtype=np.str_), return_inverse=True)
    if "" in names[:1]:
        raise _fault(path, raw)
    # A name's rank is its place in the alphabet, so that sorting numbers sorts names.
    ranks = rank[encoded.indices.to_numpy()].reshape(2, -1)
    low, high = ranks.min(axis=0), ranks.max(axis=0)
    # Numbers are sorted faster than the hash table of ``np.unique`` is filled.
    keys = np.sort((low * len(names) + high)[low != high])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    pairs: npt.NDArray[np.str_] = names[np.stack(np.divmod(keys, max(len(names), 1)), axis=1)]
    return pairs


def _fault(path: Path, raw: bytes) -> InputError:
    """What is wrong with a table that is not as it should be, found line by line."""
    wanted = "a table of pairs has the header 'entity1,entity2' and two names a line"
    if not raw.strip():
        return InputError(f"{path} is empty; {wanted}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return InputError(f"{path}: line {line} is not UTF-8 text; {wanted}")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader)
        if header != HEADER:
            return InputError(f"{path}: line 1 is '{','.join(header)[:80]}'; {wanted}")
        for row in reader:
            if row and (len(row) != 2 or not all(name.strip() for name in row)):
                return InputError(f"{path}: line {reader.line_num} is '{','.join(row)[:80]}'; {wanted}")
    except csv.Error as error:
        return InputError(f"{path}: line {reader.line_num} cannot be read ({error}); {wanted}")
    return InputError(f"{path} cannot be read as a table; {wanted}")


def _folder() -> Path:
    return cache_dir() / "annotations" / f"{WHEEL.name}-{WHEEL.version}"


def _intact(source: Source) -> bool:
    path = _folder() / f"{source.name}.txt"
    return path.is_file() and sha256_of(path) == source.sha256


def get_annotations() -> Path:
    """The folder of the cache that holds the published tables, fetched where one is absent or damaged.

    Raises:
        InputError: a table has to be fetched and cannot be.
    """
    absent = [source for source in SOURCES.values() if not _intact(source)]
    if absent:
        named = ", ".join(f"{source.name} ({source.licence})" for source in absent)
        _log.info("fetching annotations from %s %s on pypi.org: %s", WHEEL.name, WHEEL.version, named)
        with scratch_folder() as folder:
            wheel = fetch_wheel(WHEEL.name, WHEEL.version, WHEEL.file, WHEEL.sha256, folder)
            with zipfile.ZipFile(wheel) as archive:
                for source in absent:
                    with atomic(_folder() / f"{source.name}.txt") as temporary:
                        temporary.write_bytes(archive.read(f"{WHEEL.folder}/{source.name}.txt"))
    return _folder()


def load_annotations(directory: Path | None = None) -> Annotations:
    """The gene pairs of a folder of one's own or, without one, of the published tables.

    A published table that is not there and cannot be fetched is listed in ``skipped``.

    Raises:
        InputError: the folder is absent or has no ``.txt`` file, or a table cannot be read.
    """
    if directory is not None:
        return _load_folder(directory)
    skipped: dict[str, str] = {}
    try:
        get_annotations()
    except InputError as error:
        skipped = {name: str(error) for name, source in SOURCES.items() if not _intact(source)}
    pairs = {name: read_pairs(_folder() / f"{name}.txt") for name in SOURCES if name not in skipped}
    origins: dict[str, dict[str, str | int]] = {
        name: _origin(SOURCES[name].licence, SOURCES[name].origin, SOURCES[name].sha256, len(rows))
        for name, rows in pairs.items()
    }
    return Annotations(pairs, origins, skipped)


def _load_folder(directory: Path) -> Annotations:
    wanted = "give a folder with tables of pairs as NAME.txt"
    if not directory.is_dir():
        raise InputError(f"{directory} is no folder of annotations; {wanted}")
    files = sorted(directory.glob("*.txt"))
    if not files:
        raise InputError(f"{directory} holds no .txt file; {wanted}")
    pairs = {path.stem: read_pairs(path) for path in files}
    # Results are the same wherever the folder lies, so the file's name is its origin, not its path.
    origins: dict[str, dict[str, str | int]] = {
        path.stem: _origin("given by path", path.name, sha256_of(path), len(pairs[path.stem])) for path in files
    }
    return Annotations(pairs, origins)


def _origin(licence: str, origin: str, sha256: str, n_pairs: int) -> dict[str, str | int]:
    return {"licence": licence, "origin": origin, "sha256": sha256, "n_pairs": n_pairs}
