"""The bucket of ``gallery_bucket`` on an S3 endpoint of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.screens.gallery_bucket import CARD, Gallery, write_card, write_pilot


@pytest.fixture(scope="module")
def bucket() -> Iterator[Gallery]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    running = Gallery(f"http://{host}:{port}")
    running.create()
    write_pilot(running)
    running.keep()
    yield running
    server.stop()


@pytest.fixture
def gallery(bucket: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    """The bucket, with a card of its pilot where ``screen`` finds it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PHENOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_card(CARD)
    yield bucket
    bucket.restore()
