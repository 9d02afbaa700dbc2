"""A web server on this machine, and the Python package index that it can be."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """Serves ``files`` by path; of those in ``cut`` only half arrives before the connection ends."""

    files: dict[str, bytes]
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Serve files under ``server.address`` until the block ends."""
    state = Server(dict(files))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = state.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.path in state.cut else body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def wheel(name: str, version: str, files: Mapping[str, str]) -> tuple[str, bytes, str]:
    """A wheel with these text files: its file name, its bytes, its sha256."""
    info = f"{name}-{version}.dist-info"
    inside = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: <3\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in inside.items():
            archive.writestr(path, text)
    data = buffer.getvalue()
    return f"{name}-{version}-py3-none-any.whl", data, hashlib.sha256(data).hexdigest()


def index(name: str, file: str, data: bytes) -> dict[str, bytes]:
    """The pages of a package index (PEP 503) with one wheel."""
    page = f'<html><body><a href="/files/{file}">{file}</a></body></html>'
    return {f"/simple/{name}/": page.encode(), f"/files/{file}": data}
