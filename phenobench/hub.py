"""Published weights and data sets: from the Hugging Face hub into its cache here, at one commit and verified.

``huggingface_hub`` fetches, so that its settings hold: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.
Where its cache keeps a file is written down here too (``hub_cache``, ``cached``): whether weights are
there is asked by ``phenobench list``, which takes less time than importing it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.cards import DataFile, HubFile, ModelCard, WeightsFile
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.licences import hub_page, require_accepted
from phenobench.lock import Known, key, known, lock_path, record

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_log = logging.getLogger("phenobench")


def fetch_weights(card: ModelCard, accepted: Collection[str]) -> list[Path]:
    """Fetch and verify the published weights of a model; what is in the cache already is verified too.

    Args:
        card: names the files.
        accepted: ids whose licences the user accepts.

    Returns:
        The files of the card's parts, in the hub's cache.

    Raises:
        InputError: no weights are published, their licence is not accepted, the hub does not give
            them, or a file has another hash than card or lock say.
    """
    if not card.weights:
        raise InputError(f"there is nothing to fetch for {card.id}: {card.status}")
    require_accepted(card.id, card.weights.values(), accepted)
    return [_fetch(file) for file in card.weights.values()]


def fetch_data(id: str, files: Iterable[DataFile], accepted: Collection[str]) -> list[Path]:
    """Fetch and verify files of a data set as ``fetch_weights`` does those of a model; ``id`` is the screen's."""
    files = list(files)
    require_accepted(id, files, accepted)
    return [_fetch(file) for file in files]


def data_is_here(file: DataFile) -> Path | None:
    """A file of a data set in the cache that can be held to a hash, without reading it; None where it is not there."""
    return _here(file, known(file))


def official_weights(card: ModelCard) -> dict[str, Path]:
    """The parts of a model's published weights that have been fetched.

    Raises:
        InputError: one has changed since.
    """
    found = {}
    for part, file in card.weights.items():
        pin = known(file)
        path = _here(file, pin)
        if path is None or pin.sha256 is None:
            continue
        if not _has_hash(path, pin.sha256):
            raise InputError(f"{path} is damaged; fetch it again with `{fetch_command(card)}`")
        found[part] = path
    return found


def are_official(card: ModelCard, weights: Mapping[str, Path]) -> bool:
    """Whether files are a model's published weights, all parts of them, wherever they lie."""

    def same(path: Path, file: WeightsFile) -> bool:
        sha256 = known(file).sha256
        return sha256 is not None and path.is_file() and _has_hash(path, sha256)

    return weights.keys() == card.weights.keys() and all(same(weights[part], card.weights[part]) for part in weights)


def weights_are_here(card: ModelCard) -> bool:
    """Whether a model has published weights and all of them have been fetched, without reading the files."""
    return bool(card.weights) and all(_here(file, known(file)) for file in card.weights.values())


def fetch_command(card: ModelCard) -> str:
    """What a user types to get the published weights."""
    asks = any(file.accept for file in card.weights.values())
    return f"phenobench data get {card.id}" + (f" --accept-licence {card.id}" if asks else "")


def hub_cache() -> Path:
    """The cache of the Hugging Face hub, found as its own library finds it."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    home = os.environ.get("HF_HOME", default)
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(given)).expanduser()


def cached(file: HubFile, commit: str) -> Path:
    """Where the hub's cache keeps a file, whether it is there or not."""
    return _folder(file) / "snapshots" / commit / file.file


def _here(file: HubFile, pin: Known) -> Path | None:
    """A file in the cache that can be held to a hash."""
    path = cached(file, pin.revision) if pin.revision and pin.sha256 else None
    return path if path is not None and path.is_file() else None


def _folder(file: HubFile) -> Path:
    return hub_cache() / f"{_kind(file)}s--{file.hub.replace('/', '--')}"


def _kind(file: HubFile) -> str:
    return "dataset" if isinstance(file, DataFile) else "model"


def _has_hash(path: Path, sha256: str) -> bool:
    # The cache's files are links to contents, large ones of which are named by their sha256. They were verified when
    # they were fetched, so a run does not read them once more for that.
    return (path.is_symlink() and path.readlink().name == sha256) or sha256_of(path) == sha256


def _fetch(file: HubFile) -> Path:
    pin = known(file)
    with _as_one_sentence(file):
        commit = pin.revision or _commit(file)
    path = cached(file, commit)
    arrived = sha256_of(path) if path.is_file() else None
    if arrived is None or pin.sha256 not in (None, arrived):
        if arrived is not None:
            _log.info("%s is damaged and is fetched again", path)
            _remove(path)
        with _as_one_sentence(file):
            path = _download(file, commit)
        arrived = sha256_of(path)
    if pin.sha256 not in (None, arrived):
        _remove(path)
        recorded = file.sha256 is None
        wanted = f"{pin.sha256}, recorded in {lock_path()}" if recorded else f"the card's {pin.sha256}"
        remedy = (
            "remove its table there to accept the new file" if recorded else f"give the right file {_otherwise(file)}"
        )
        raise InputError(
            f"the hub gave {key(file)} with sha256 {arrived} in place of {wanted}; it was not kept: try again, or "
            f"{remedy}"
        )
    if pin.revision is None or pin.sha256 is None:
        record(file, commit, arrived)
    return path


def _commit(file: HubFile) -> str:
    """The commit of a branch: the hub's, or without a connection the one that the cache saw last."""
    from huggingface_hub.errors import FileMetadataError

    try:
        commit = _metadata(file, file.revision).commit_hash
    except Exception:
        seen = _folder(file) / "refs" / file.revision
        if not seen.is_file():
            raise
        commit = seen.read_text(encoding="utf-8").strip()
    if commit is None:
        raise FileMetadataError("the answer names no commit")
    return commit


def _metadata(file: HubFile, revision: str) -> HfFileMetadata:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    return get_hf_file_metadata(hf_hub_url(file.hub, file.file, repo_type=_kind(file), revision=revision))


def _download(file: HubFile, commit: str) -> Path:
    from huggingface_hub import hf_hub_download
    from rich.filesize import decimal

    # Asked first: it fails at once where the download would try for half a minute.
    size = _metadata(file, commit).size
    told = "" if size is None else f", {decimal(size)}"
    _log.info("downloading %s of %s%s, licence: %s", file.file, hub_page(file), told, file.licence)
    return Path(hf_hub_download(file.hub, file.file, repo_type=_kind(file), revision=commit, cache_dir=hub_cache()))


def _remove(path: Path) -> None:
    """Take a file out of the cache, name and content, so that the next try fetches it."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)


@contextmanager
def _as_one_sentence(file: HubFile) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub's client lets those of three other libraries through
        raise InputError(_refusal(file, error)) from error


def _refusal(file: HubFile, error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"{key(file)} is not in the cache {hub_cache()}, and HF_HUB_OFFLINE is set; "
            f"unset it, or give the file {_otherwise(file)}"
        )
    # Where the client looked into its cache after a failure, the failure is the cause.
    cause = error.__cause__ or error
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            f"the hub does not let you read {key(file)} (HTTP status {status}); "
            f"ask for access at {hub_page(file)} and set HF_TOKEN to a token of yours"
        )
    reason = f"HTTP status {status}" if status else getattr(cause, "strerror", None) or type(cause).__name__
    return f"{key(file)} cannot be downloaded ({reason}); check the network, or give the file {_otherwise(file)}"


def _otherwise(file: HubFile) -> str:
    """How a user gives a file that the hub does not."""
    return (
        "in a folder that benchmark.toml names as the screen's root" if isinstance(file, DataFile) else "with --weights"
    )
