"""The Hugging Face hub on this machine, as far as a download of one file asks of it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0ff"

_FILE = re.compile(r"/(?P<repo>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Hub:
    """A hub whose repositories have one commit.

    Attributes:
        files: contents by ``repository/path``; the repository of a data set starts with ``datasets/``.
        small: those that are kept by git and not by its storage for large files, whose names are not their sha256.
        cut: of these half arrives, and the connection ends; once.
        gated: repositories that only those with the token may read.
        token: what they send.
        asked: requests so far, as ``METHOD path``, with the range if one was named.
        address: of the server.
    """

    files: dict[str, bytes]
    small: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_secret"
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def got(self) -> list[str]:
        """The downloads of files among the requests."""
        return [request for request in self.asked if request.startswith("GET ") and "/resolve/" in request]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        wanted = self.headers.get("Range", "")
        self.hub.asked.append(f"{self.command} {self.path} {wanted}".strip())
        match = _FILE.fullmatch(self.path)
        if match is None or match["revision"] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if match["repo"] in self.hub.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._refuse(401 if "Authorization" not in self.headers else 403, "GatedRepo")
        name = f"{match['repo']}/{match['file']}"
        if name not in self.hub.files:
            return self._refuse(404, "EntryNotFound")
        return self._send(name, int(wanted.removeprefix("bytes=").removesuffix("-") or 0))

    def _send(self, name: str, start: int) -> None:
        body = self.hub.files[name]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        if name in self.hub.small:
            git = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
            self.send_header("ETag", f'"{git}"')
        else:
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command == "GET":
            half = name in self.hub.cut
            self.hub.cut.discard(name)
            self.wfile.write(body[start : len(body) // 2] if half else body[start:])

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serve_hub(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """A hub with these files under ``hub.address`` until the block ends."""
    hub = Hub(dict(files))
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
