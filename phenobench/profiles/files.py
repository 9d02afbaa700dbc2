"""Which files are meant, and what their places say: keys of partitions, and the plate that a file is of."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from phenobench.errors import InputError
from phenobench.profiles.formats import SUFFIXES, is_profiles

# How Hive, Spark and pyarrow spell a missing key.
_NO_KEY = "__HIVE_DEFAULT_PARTITION__"


def find_files(paths: Sequence[str]) -> list[Path]:
    """The files that paths, folders and globs name, each once.

    Raises:
        InputError: one names nothing, or there is none.
    """
    files: dict[Path, Path] = {}
    for given in paths:
        try:
            found = _find(given)
        except (OSError, ValueError) as error:
            raise InputError(f"{given[:200]}: no file of profiles can be there ({error})") from error
        if not found:
            raise InputError(
                f"{given}: no file of profiles is there; give a {', '.join(SUFFIXES)} file or a folder of them"
            )
        # A file that is named twice is read once.
        for file in found:
            files.setdefault(file.resolve(), file)
    if not files:
        raise InputError("no file of profiles was named; give one with --profiles")
    # Sorted, so that no result depends on the order in which files are named.
    return sorted(files.values())


def _find(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if given.strip() and path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    return [file for file in found if file.is_file() and is_profiles(file)]


def _in_folder(folder: Path) -> list[Path]:
    """Files of a folder, and those of its partitions: folders that are called ``key=value``."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and is_profiles(file)]
    for part in sorted(folder.iterdir()):
        if part.is_dir() and "=" in part.name and not part.name.startswith("."):
            files += _in_folder(part)
    return files


def partition_keys(file: Path) -> dict[str, str | None]:
    """The keys of the partition that a file lies in, and their values; none where its folder is no ``key=value``."""
    found: dict[str, str | None] = {}
    for folder in file.absolute().parents:
        key, equals, value = folder.name.partition("=")
        if not equals or not key:
            break
        found[unquote(key)] = None if value == _NO_KEY else unquote(value)
    return dict(reversed(found.items()))


def names_of(files: Sequence[Path]) -> list[str]:
    """A name of each file: its own without the suffix, with its folder's where several have one name.

    Raises:
        InputError: two have the same folder's name, too.
    """
    names = [_stem(file) for file in files]
    if len(set(names)) < len(names):
        names = [f"{file.resolve().parent.name}/{name}" for file, name in zip(files, names, strict=True)]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"--plate-from-file: {count} files are called {name}; rename them, or name a column of the plate"
        )
    return names


def _stem(file: Path) -> str:
    suffix = max(
        (one for one in (*SUFFIXES, ".txt", ".txt.gz") if file.name.lower().endswith(one)), key=len, default=""
    )
    return file.name[: len(file.name) - len(suffix)] if suffix else file.stem
