"""Fetching what phenobench needs from fixed addresses: verified, whole or not there, and kept."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

from phenobench.errors import InputError
from phenobench.files import atomic, sha256_of, write_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_log = logging.getLogger("phenobench")
# Shorter downloads show no progress bar.
_BAR_AFTER_SECONDS = 2.0
_PIP_TIMEOUT_SECONDS = 900


def fetch_file(url: str, path: Path, sha256: str | None) -> Path:
    """Fetch ``url`` to ``path`` unless the right file is there already, and return ``path``.

    Args:
        url: a pinned address.
        path: where the file is kept.
        sha256: the pinned hash. None where the source publishes none that could be pinned: the hash
            is then recorded in ``<path>.sha256`` at the first sight of the file and verified ever after.

    Raises:
        InputError: no connection, a server's refusal, another hash, or a folder that cannot be written.
    """
    record = path.with_name(path.name + ".sha256")
    known = sha256 or _recorded(record)
    if path.exists():
        present = sha256_of(path)
        if known in (None, present):
            if known is None:
                _write_record(record, present, path.name)
            return path
        _log.info("%s is damaged and is fetched again", path)
    _log.info("downloading %s", url)
    with atomic(path) as temporary:
        _download(url, temporary, path)
        arrived = sha256_of(temporary)
        if known not in (None, arrived):
            wanted = f"the pinned {known}" if sha256 else f"{known}, recorded in {record}"
            remedy = f"put the right file at {path}" if sha256 else f"delete {record.name} to accept the new file"
            raise InputError(
                f"{url} gave a file with sha256 {arrived} in place of {wanted}; it was not kept: try again, or {remedy}"
            )
    if known is None:
        _write_record(record, arrived, path.name)
    return path


def _recorded(record: Path) -> str | None:
    try:
        return record.read_text(encoding="utf-8").split()[0]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{record} cannot be read as a recorded sha256; delete it to record it anew") from error


def _write_record(record: Path, sha256: str, name: str) -> None:
    # The form of sha256sum, so that `sha256sum -c` understands it.
    write_text(record, f"{sha256}  {name}\n")


def _download(url: str, target: Path, path: Path) -> None:
    import pooch
    from requests.exceptions import RequestException  # pooch's own way to the network

    try:
        with _bar(path.name) as bar:
            pooch.HTTPDownloader(progressbar=bar)(url, str(target), None)
    except RequestException as error:
        response = error.response
        reason = type(error).__name__ if response is None else f"HTTP status {response.status_code}"
        raise InputError(
            f"{url} cannot be downloaded ({reason}); check the network, or put the file yourself at {path}"
        ) from error


class _Bar:
    """What pooch asks of a progress bar, shown with rich once a download proves to be slow."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.total = 0
        self._progress = progress
        self._task = task
        self._begun = monotonic()

    def update(self, count: int) -> None:
        if not self._progress.live.is_started and monotonic() - self._begun > _BAR_AFTER_SECONDS:
            self._progress.start()
        self._progress.update(self._task, total=self.total or None, advance=count)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Nothing to do: ``_bar`` stops the display, also after an error, when pooch calls nothing."""


@contextmanager
def _bar(name: str) -> Iterator[_Bar]:
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
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    try:
        yield _Bar(progress, progress.add_task(name, total=None))
    finally:
        # Stopping a display that never started would print an empty line.
        if progress.live.is_started:
            progress.stop()


def fetch_wheel(name: str, version: str, file: str, sha256: str, folder: Path) -> Path:
    """Download one wheel from the Python package index into ``folder`` without installing anything.

    pip does it, so that the user's own index, proxy and certificate settings hold.

    Args:
        name: the distribution.
        version: its exact version.
        file: the name of the wheel's file.
        sha256: its hash.
        folder: an existing folder.

    Raises:
        InputError: no pip can be found, pip failed (with its last line), or the hash is another.
    """
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    # Only the file is wanted, so the Python that it is meant for does not matter; one retry is enough
    # to tell a user without a network so within seconds.
    options += ["--ignore-requires-python", "--retries=1"]
    what = f"{name} {version}"
    try:
        done = subprocess.run(
            [*_pip_command(what), "download", *options, f"--dest={folder}", f"{name}=={version}"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PIP_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"pip did not download {what} within {_PIP_TIMEOUT_SECONDS} seconds; check the network and try again"
        ) from error
    path = folder / file
    if done.returncode or not path.exists():
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        reason = lines[-1].removeprefix("ERROR: ")
        raise InputError(f"pip could not download {file} ({reason}); check the network and pip's index settings")
    arrived = sha256_of(path)
    if arrived != sha256:
        path.unlink()
        raise InputError(
            f"pip downloaded {file} with sha256 {arrived} in place of the pinned {sha256}; "
            "use an index that carries the file of pypi.org"
        )
    return path


def _pip_command(what: str) -> list[str]:
    """The first pip that there is: this interpreter's, the one Python carries for new environments, PATH's."""
    if find_spec("pip"):
        # -P: a file pip.py in the current folder is not pip.
        return [sys.executable, "-P", "-m", "pip"]
    for folder in _wheel_folders():
        for wheel in sorted(folder.glob("pip-*.whl"), reverse=True):
            return [sys.executable, str(wheel / "pip")]
    for program in ("pip", "pip3"):
        found = shutil.which(program)
        if found:
            return [found]
    raise InputError(
        f"{what} is downloaded with pip, and none was found; install pip (python -m ensurepip) and try again"
    )


def _wheel_folders() -> Iterator[Path]:
    # Distributions that unbundle ensurepip's wheels say where they are.
    system = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if system:
        yield Path(system)
    spec = find_spec("ensurepip")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "_bundled"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that is gone after the block.

    Raises:
        InputError: the system has no room for one.
    """
    try:
        folder = TemporaryDirectory(prefix="phenobench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(f"no temporary folder can be made ({error}); free some space or set TMPDIR") from error
    with folder as name:
        yield Path(name)
