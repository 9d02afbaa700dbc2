"""``phenobench.lock``: commits and hashes that no card pins, recorded at the first download and verified ever after.

The file is TOML, sorted, one table a file on the hub or a thing that no commit fixes (it has no revision then), made
to be read and committed::

    ["facebook/dinov2-base/model.safetensors"]
    revision = "f9e44c814b77203eaa57a6bdbbd535f21ede1415"
    sha256 = "..."

It lies beside the nearest ``benchmark.toml``, else in the user's cache folder. To accept another
file than the recorded one, remove its table and fetch again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, RootModel

from phenobench.cards import HubFile, nearest_suite, read_toml, validate
from phenobench.files import cache_dir, write_text

LOCK_FILE = "phenobench.lock"

_HEADER = """\
# Commits and hashes of what was fetched, where no card pins them. Every later use is held to them.
# To accept another file, remove its table and run `phenobench data get` again.
"""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _Pin(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Lock(RootModel[dict[str, _Pin]]):
    pass


@dataclass(frozen=True)
class Known:
    """What a file is held to: its commit and its hash, each None where neither card nor lock has it."""

    revision: str | None
    sha256: str | None


def key(file: HubFile) -> str:
    """What messages and the lock call a file: its repository and its path in there."""
    return f"{file.hub}/{file.file}"


def lock_path() -> Path:
    """The lock in force, whether it is there yet or not."""
    suite = nearest_suite()
    return (suite.parent if suite else cache_dir()) / LOCK_FILE


def known(file: HubFile) -> Known:
    """What card and lock say of a file. The card goes first: a lock of another commit than the card's counts nothing.

    Raises:
        InputError: the lock cannot be read, or an entry is no commit and hash.
    """
    commit = file.revision if _COMMIT.fullmatch(file.revision) else None
    pin = _read().get(key(file))
    if pin is None or commit not in (None, pin.revision):
        return Known(commit, file.sha256)
    return Known(pin.revision, file.sha256 or pin.sha256)


def record(file: HubFile, revision: str, sha256: str) -> None:
    """Write a file's commit and hash into the lock.

    Raises:
        InputError: the lock cannot be read or written.
    """
    _write(key(file), _Pin(revision=revision, sha256=sha256))


def pinned(name: str) -> str | None:
    """The recorded hash of something that no commit fixes; None where it was never recorded.

    Raises:
        InputError: as ``known``.
    """
    pin = _read().get(name)
    return pin.sha256 if pin else None


def pin(name: str, sha256: str) -> None:
    """Write the hash of something that no commit fixes into the lock.

    Raises:
        InputError: as ``record``.
    """
    _write(name, _Pin(sha256=sha256))


def _write(name: str, pin: _Pin) -> None:
    tables = [_table(*entry) for entry in sorted({**_read(), name: pin}.items())]
    write_text(lock_path(), "\n".join([_HEADER, *tables]))


def _table(name: str, pin: _Pin) -> str:
    revision = f'revision = "{pin.revision}"\n' if pin.revision else ""
    return f'[{json.dumps(name, ensure_ascii=False)}]\n{revision}sha256 = "{pin.sha256}"\n'


def _read() -> Mapping[str, _Pin]:
    path = lock_path()
    return validate(read_toml(path), _Lock, path).root if path.exists() else {}
