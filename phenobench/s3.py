"""Public buckets on S3: listing and fetching without credentials, each object whole, verified and kept.

``$AWS_ENDPOINT_URL_S3`` names another server than Amazon's, such as a mirror of one's own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.background import during, wanted
from phenobench.errors import InputError, one_line
from phenobench.files import atomic, sha256_of, write_text

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_S3"

_log = logging.getLogger("phenobench")
# Requests on the way at a time: images are small, so that latency and not bandwidth is what one request waits for.
_CONNECTIONS = 16
_RETRIES = 4
_RETRY_FOR = timedelta(minutes=2)
_LISTED_AT_ONCE = 1000
# The ETag of an object that was uploaded in one part is the MD5 of its content.
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class S3Object:
    """An object as a listing shows it: key, size in bytes, and the ETag, which changes with the content."""

    key: str
    size: int
    etag: str


class Bucket:
    """A bucket that anyone may read; requests are not signed.

    Args:
        name: of the bucket.
        region: where it is.
    """

    def __init__(self, name: str, region: str) -> None:
        self.name = name
        self.region = region
        self._store: S3Store | None = None

    def objects(self, prefix: str) -> list[S3Object]:
        """The objects below a folder.

        Raises:
            InputError: the bucket cannot be reached or read.
        """
        import obstore

        with self._as_one_sentence(prefix):
            found = obstore.list(self._open(), prefix.rstrip("/"), chunk_size=_LISTED_AT_ONCE).collect()
        return [S3Object(one["path"], one["size"], _plain(one["e_tag"])) for one in found]

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders right below a folder, sorted.

        Raises:
            InputError: the bucket cannot be reached or read.
        """
        import obstore

        with self._as_one_sentence(prefix):
            found = obstore.list_with_delimiter(self._open(), prefix)["common_prefixes"]
        return sorted(name.rpartition("/")[2] for name in found)

    def read(self, key: str) -> bytes:
        """The content of a small object.

        Raises:
            InputError: it is absent, or the bucket cannot be reached or read.
        """
        import obstore

        with self._as_one_sentence(key):
            return bytes(obstore.get(self._open(), key).bytes())

    def fetch(self, wanted: S3Object) -> bytes:
        """The content of an object that is still what the listing said.

        Raises:
            InputError: it is absent, has changed since, or did not arrive whole.
        """
        import obstore

        with self._as_one_sentence(wanted.key):
            content = bytes(obstore.get(self._open(), wanted.key, options={"if_match": f'"{wanted.etag}"'}).bytes())
        if len(content) != wanted.size:
            raise InputError(
                f"{self._address(wanted.key)} arrived with {len(content)} bytes in place of {wanted.size}; "
                "it was not kept: try again"
            )
        if _MD5.fullmatch(wanted.etag):
            arrived = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if arrived != wanted.etag:
                raise InputError(
                    f"{self._address(wanted.key)} arrived with MD5 {arrived} in place of {wanted.etag}; "
                    "it was not kept: try again"
                )
        return content

    def _open(self) -> S3Store:
        if self._store is None:
            from obstore.store import S3Store

            endpoint = os.environ.get(ENDPOINT_VARIABLE)
            config: S3Config = {"region": self.region, "skip_signature": True}
            if endpoint:
                config["endpoint"] = endpoint
            self._store = S3Store(
                self.name,
                config=config,
                client_options={"allow_http": (endpoint or "").startswith("http://")},
                retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
            )
        return self._store

    def _address(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    @contextmanager
    def _as_one_sentence(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

        try:
            yield
        except FileNotFoundError as error:
            raise InputError(f"{self._address(key)} is not there; check the card's project and batches") from error
        except PreconditionError as error:
            raise InputError(
                f"{self._address(key)} has changed since it was listed; remove the plate's index from the cache and "
                "its table from phenobench.lock to accept the new file"
            ) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise InputError(
                f"{self._address(key)} may not be read without credentials; name a public bucket"
            ) from error
        except (BaseError, OSError, ValueError) as error:
            where = os.environ.get(ENDPOINT_VARIABLE) or "Amazon S3"
            reason = one_line(error).split(" Debug source:")[0][:200]
            raise InputError(
                f"{self._address(key)} cannot be read from {where} ({reason}); check the network, or "
                f"name a mirror with {ENDPOINT_VARIABLE}"
            ) from error


class Mirror:
    """A folder with objects of a bucket under their keys.

    Objects that are there are verified once a process, by the hash that was recorded when they were
    fetched, else by their ETag where that is a hash; a damaged one is fetched again. What was
    fetched before a run was cut stays, so that a cut costs the requests on the way and no more.

    Args:
        bucket: where objects are from.
        folder: where they are kept.
    """

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self._bucket = bucket
        self._folder = folder
        self._verified: set[str] = set()
        self._told: set[str] = set()
        # One at a time writes a record; a fetch has many connections by itself.
        self._fetching = threading.Lock()

    def path(self, key: str) -> Path:
        """Where an object is kept, whether it is there or not."""
        return self._folder / key

    def fetch(self, objects: Sequence[S3Object], record: Path, title: str) -> None:
        """Fetch the objects that are not here.

        Args:
            objects: what is wanted.
            record: the file of their hashes, in the form of ``sha256sum``, relative to the mirror's folder.
            title: what a progress display says.

        Raises:
            InputError: one cannot be had, or the folder cannot be written.
        """
        with during("download"), self._fetching:
            unverified = [one for one in dict.fromkeys(objects) if one.key not in self._verified]
            if unverified:
                self._fetch(unverified, record, title)

    def _fetch(self, unverified: list[S3Object], record: Path, title: str) -> None:
        known = _recorded(record)
        hashes = {one.key: sha256 for one in unverified if (sha256 := self._verify(one, known.get(one.key)))}
        absent = [one for one in unverified if one.key not in hashes]
        if absent and title not in self._told:
            # The first of many fetches, where the wells of a plate are asked for a few at a time.
            self._told.add(title)
            size = sum(one.size for one in absent)
            _log.info("downloading %s: %d files, %.1f MB", title, len(absent), size / 1e6)
        try:
            with _progress(title, sum(one.size for one in absent)) as done:
                for one, content in self._arriving(absent):
                    wanted()
                    with atomic(self.path(one.key)) as temporary:
                        temporary.write_bytes(content)
                    hashes[one.key] = hashlib.sha256(content).hexdigest()
                    done(one.size)
        finally:
            if any(known.get(key) != sha256 for key, sha256 in hashes.items()):
                lines = [f"{sha256}  {key}\n" for key, sha256 in sorted({**known, **hashes}.items())]
                write_text(record, "".join(lines))
        self._verified.update(hashes)

    def _verify(self, one: S3Object, recorded: str | None) -> str | None:
        """The SHA-256 of an object that is here and whole; None where it has to be fetched."""
        path = self.path(one.key)
        if not path.is_file() or path.stat().st_size != one.size:
            return None
        sha256 = sha256_of(path)
        if recorded:
            whole = sha256 == recorded
        else:
            whole = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == one.etag
        if not whole:
            _log.info("%s is damaged, or nothing says that it is whole: it is fetched again", path)
        return sha256 if whole else None

    def _arriving(self, objects: Sequence[S3Object]) -> Iterator[tuple[S3Object, bytes]]:
        """Objects in order with their content, some ahead on the way."""
        waiting: deque[tuple[S3Object, Future[bytes]]] = deque()
        pool = ThreadPoolExecutor(_CONNECTIONS)
        try:
            for one in objects:
                waiting.append((one, pool.submit(self._bucket.fetch, one)))
                if len(waiting) == 2 * _CONNECTIONS:
                    first, content = waiting.popleft()
                    yield first, content.result()
            while waiting:
                first, content = waiting.popleft()
                yield first, content.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _plain(etag: str | None) -> str:
    return (etag or "").strip('"')


def _recorded(record: Path) -> dict[str, str]:
    try:
        lines = record.read_text(encoding="utf-8").splitlines()
        return {key: sha256 for sha256, key in (line.split("  ", 1) for line in lines)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{record} cannot be read as recorded hashes; delete it to record them anew") from error


@contextmanager
def _progress(title: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where someone looks at it; called with the bytes that have arrived since."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not (size and console.is_terminal)) as bar:
        task = bar.add_task(title, total=size)
        yield lambda arrived: bar.update(task, advance=arrived)
