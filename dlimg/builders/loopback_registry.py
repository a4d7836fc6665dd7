"""A temporary, read-only registry on the loopback interface, from which an engine pulls an image.

It serves one manifest and its blobs by digest, with the pull endpoints of the OCI distribution
specification 1.1.
"""

import contextlib
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Final

# The repository of every served image: its name in an engine until it gets its own.
NAME: Final = "dlimg-passing"

Content = bytes | Path

_PATH: Final = re.compile(rf"/v2/{NAME}/(manifests|blobs)/(sha256:[0-9a-f]{{64}})")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_TLS_RECORD: Final = b"\x16"
_OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedImage:
    """A served image: the registry's `host`, and the requests that it got so far.

    `close` ends the registry early, in the middle of transfers; `is_closed` tells so.
    """

    host: str
    requests: list[str]
    close: Callable[[], None]
    closed: threading.Event

    @property
    def is_closed(self) -> bool:
        return self.closed.is_set()

    def reference(self, digest: str) -> str:
        return f"{self.host}/{NAME}@{digest}"


@contextlib.contextmanager
def serve_image(manifest: bytes, blobs: Mapping[str, Content]) -> Iterator[ServedImage]:
    """Serve the image with this manifest; blobs are contents or files by digest."""
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.manifest = (digest, manifest)
        server.blobs = blobs
        server.requests = []
        server.connections = set()
        server.closed = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield ServedImage(
                host=f"127.0.0.1:{server.server_port}",
                requests=server.requests,
                close=server.break_off,
                closed=server.closed,
            )
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    """An HTTP server with the image; clients that disconnect cause no errors."""

    manifest: tuple[str, bytes]
    blobs: Mapping[str, Content]
    requests: list[str]
    connections: set[socket.socket]
    closed: threading.Event
    daemon_threads = True

    def break_off(self) -> None:
        """Refuse further connections, and break off the transfers of those that are open."""
        self.closed.set()
        self.shutdown()
        self.server_close()
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Ignore a client that disconnects: it repeats its request if it has to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # without it, small responses wait for an acknowledgement
    timeout = 600
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        # Engines try TLS first, and use plain HTTP after a response in it. The first TLS message
        # has no end of line, which http.server would wait for.
        if self.connection.recv(1, socket.MSG_PEEK) == _TLS_RECORD:
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        super().handle()

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        if self.path in {"/v2", "/v2/"}:
            self._send(b"{}", kind="application/json")
            return
        # A connection that was accepted while the registry was closing.
        match = None if self.server.closed.is_set() else _PATH.fullmatch(self.path)
        served = self._find(*match.groups()) if match else None
        if served is None:
            self._send_not_found()
            return
        content, kind = served
        self._send(content, kind=kind, digest=self.path.rpartition("/")[2])

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _find(self, endpoint: str, digest: str) -> tuple[Content, str] | None:
        name, manifest = self.server.manifest
        if endpoint == "manifests":
            kind = str(json.loads(manifest)["mediaType"])
            return (manifest, kind) if digest == name else None
        content = self.server.blobs.get(digest)
        return None if content is None else (content, _OCTETS)

    def _send(self, content: Content, *, kind: str, digest: str = "") -> None:
        with _open_content(content) as file:
            size = file.seek(0, io.SEEK_END)
            first, last = self._range(size)
            if first > last and size:
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, 0, digest)
                return
            count = last - first + 1
            is_part = count != size
            status = HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK
            part = f"bytes {first}-{last}/{size}" if is_part else ""
            self._head(status, kind, count, digest, part)
            file.seek(first)
            if self.command != "HEAD" and count:
                self.wfile.flush()
                self._copy(file, first, count)

    def _copy(self, file: IO[bytes], first: int, count: int) -> None:
        if isinstance(file, io.BytesIO):
            self.wfile.write(file.read(count))
        else:
            self.connection.sendfile(file, offset=first, count=count)

    def _head(self, status: HTTPStatus, kind: str, count: int, digest: str, part: str = "") -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(count))
        self.send_header("Accept-Ranges", "bytes")
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()

    def _range(self, size: int) -> tuple[int, int]:
        """Return the first and the last byte of the requested range."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None:
            return 0, size - 1
        last = int(match[2]) if match[2] else size - 1
        return int(match[1]), min(last, size - 1)

    def _send_not_found(self) -> None:
        body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"not served here"}]}'
        self._head(HTTPStatus.NOT_FOUND, "application/json", len(body), "")
        if self.command != "HEAD":
            self.wfile.write(body)


def _open_content(content: Content) -> contextlib.AbstractContextManager[IO[bytes]]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
