"""Fetching from S3 when the network fails."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phenobench.errors import InputError
from phenobench.s3 import Bucket, Mirror, S3Object
from tests.serving import serve

BUCKET = "cellpainting-gallery"


def test_no_server_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({}) as gone:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gone.address)
    monkeypatch.setattr("phenobench.s3._RETRIES", 0)
    with pytest.raises(InputError, match=r"cannot be read from http://127.*check the network") as caught:
        Bucket(BUCKET, "us-east-1").read("cpg/file.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["cut", "short", "damaged"])
def test_a_truncated_or_damaged_download_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    content = bytes(range(256)) * 10
    arriving = {"cut": content, "short": content[:-1], "damaged": content[:-1] + b"?"}[kind]
    # What was uploaded in parts has an ETag that is no hash of its content.
    etag = {"cut": "0-2", "short": "0-2", "damaged": hashlib.md5(content).hexdigest()}[kind]
    wanted = S3Object("cpg/image.tiff", len(content), etag)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("phenobench.s3._RETRIES", 0)
    with serve({f"/{BUCKET}/cpg/image.tiff": arriving}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.address)
        if kind == "cut":
            server.cut.add(f"/{BUCKET}/cpg/image.tiff")
        mirror = Mirror(Bucket(BUCKET, "us-east-1"), tmp_path)
        with pytest.raises(InputError, match=r"image\.tiff (cannot be read|arrived with .* in place of)"):
            mirror.fetch([wanted], tmp_path / "record.sha256", "a plate")
        assert list(tmp_path.rglob("*.*")) == []
        server.cut.clear()
        server.files[f"/{BUCKET}/cpg/image.tiff"] = content
        mirror.fetch([wanted], tmp_path / "record.sha256", "a plate")
    assert (tmp_path / "cpg/image.tiff").read_bytes() == content


def test_threads_that_fetch_at_once_lose_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {f"cpg/{number}.tiff": bytes([number]) * 100 for number in range(24)}
    # What was uploaded in parts is held to its record alone.
    objects = [S3Object(key, len(content), "0-2") for key, content in contents.items()]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve({f"/{BUCKET}/{key}": content for key, content in contents.items()}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.address)
        mirror, record = Mirror(Bucket(BUCKET, "us-east-1"), tmp_path), tmp_path / "record.sha256"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: mirror.fetch([one], record, "a plate"), objects))
    expected = [f"{hashlib.sha256(content).hexdigest()}  {key}" for key, content in sorted(contents.items())]
    assert record.read_text().splitlines() == expected
    assert all(mirror.path(key).read_bytes() == content for key, content in contents.items())
