"""An OCI registry in this process, with faults that a test can set."""

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TLS_RECORD = b"\x16"


@dataclass(kw_only=True)
class Answer:
    """A response that replaces the right one."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0


@dataclass(kw_only=True)
class FakeRegistry:
    """The registry's contents, the requests it got, and its faults.

    `odd` are responses by path that replace the right ones, in order. `login` is the name and
    password for a token. `pages` is the number of referrers on a page of the API. An upload breaks
    off after each of the `breaks` in bytes; `keeps` tells whether the bytes so far are kept. More
    than `most` bytes in one request are refused. So many times as `expires` a token is refused
    after a blob was sent with it. `read_only` refuses every write with 405. Blobs in `loses` are
    lost after their upload. Storing a blob takes `upload_seconds`.
    """

    referrers_api: bool = True
    login: tuple[str, str] | None = None
    basic: bool = False
    blobs_elsewhere: str = ""
    pages: int = 100
    forgets: int = 0
    breaks: list[int] = field(default_factory=list)
    keeps: bool = True
    most: int = 2**40
    mounts: bool = True
    expires: int = 0
    read_only: bool = False
    upload_seconds: float = 0.0
    loses: set[str] = field(default_factory=set)
    uploads: dict[str, bytes] = field(default_factory=dict)
    received: int = 0
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    odd: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    bodies: list[tuple[str, str]] = field(default_factory=list)
    host: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def paths(self, method: str) -> list[str]:
        return [path for verb, path, _ in self.asked if verb == method]

    @property
    def writes(self) -> list[str]:
        """All requests that write."""
        return [f"{verb} {path}" for verb, path, _ in self.asked if verb not in {"GET", "HEAD"}]

    def put_blob(self, name: str, content: bytes) -> str:
        digest = sha256(content)
        self.blobs[name, digest] = content
        return digest

    def put_manifest(self, name: str, content: object, *tags: str, kind: str = OCI_MANIFEST) -> str:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        for version in (sha256(text), *tags):
            self.manifests[name, version] = (kind, text)
        return sha256(text)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextlib.contextmanager
def running(fake: FakeRegistry) -> Iterator[FakeRegistry]:
    """Serve the registry at `fake.host`."""
    with contextlib.closing(_Server(("127.0.0.1", 0), _Handler)) as server:
        server.fake = fake
        fake.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


class _Server(ThreadingHTTPServer):
    fake: FakeRegistry
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect, as some tests do."""

    def close(self) -> None:
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        # Engines try TLS first, and go on without it when they are answered in plain HTTP.
        if self.connection.recv(1, socket.MSG_PEEK) == TLS_RECORD:
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            return
        super().handle()

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 - the names that http.server looks for

    def _serve(self) -> None:
        fake = self.server.fake
        self.path, _, query = self.path.partition("?")
        self.query = parse_qs(query)
        if not self._read(fake):
            return
        fake.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        fake.bodies.append((self.path, query))
        odd = fake.odd.get(f"{self.command} {self.path}") or fake.odd.get(self.path)
        self._answer(odd.pop(0) if odd else self._right(fake))

    def _read(self, fake: FakeRegistry) -> bool:
        """The body is here; not when the connection breaks before."""
        size = int(self.headers.get("Content-Length") or 0)
        is_upload = "/blobs/uploads/" in self.path and self.command in {"PUT", "PATCH"}
        if not (is_upload and size and fake.breaks):
            self.body = self.rfile.read(size)
            fake.received += len(self.body) if is_upload else 0
            return True
        came = self.rfile.read(min(size, fake.breaks.pop(0)))
        fake.received += len(came)
        if fake.keeps:
            fake.uploads[self.path] = fake.uploads.get(self.path, b"") + came
        self.close_connection = True
        # A reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return False

    def _answer(self, answer: Answer) -> None:
        time.sleep(answer.seconds)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    def _right(self, fake: FakeRegistry) -> Answer:
        if fake.read_only and self.command not in {"GET", "HEAD"}:
            return Answer(status=405)
        if self.path == "/token":
            return self._token(fake)
        refused = self._refused(fake)
        if refused:
            return refused
        routes: tuple[tuple[str, Callable[..., Answer]], ...] = (
            (r"/v2/(.+)/manifests/([^/]+)", self._manifest),
            (r"/v2/(.+)/blobs/uploads/(.*)", self._upload),
            (r"/v2/(.+)/blobs/(sha256:[^/]+)", self._blob),
            (r"/v2/(.+)/referrers/([^/]+)", self._referrers),
        )
        for pattern, route in routes:
            match = re.fullmatch(pattern, self.path)
            if match:
                return route(fake, *match.groups())
        return Answer(status=404)

    def _refused(self, fake: FakeRegistry) -> Answer | None:
        if fake.login is None:
            return None
        word = base64.b64encode(":".join(fake.login).encode()).decode()
        wanted = f"Basic {word}" if fake.basic else "Bearer "
        held = self.headers.get("Authorization", "")
        if held == wanted or (not fake.basic and held.startswith("Bearer ") and self._may(held)):
            return None
        challenge = (
            'Basic realm="here"'
            if fake.basic
            else f'Bearer realm="http://{fake.host}/token",service="small",scope="x"'
        )
        return Answer(status=401, headers={"WWW-Authenticate": challenge})

    def _may(self, text: str) -> bool:
        """A token is the list of what it grants."""
        is_writing = self.command in {"POST", "PUT", "PATCH"}
        if self.command == "PUT" and self.server.fake.expires:
            self.server.fake.expires -= 1
            return False
        actions = "push" if is_writing else "pull"
        return any(
            part.rpartition(":")[0].removeprefix("repository:") in self.path
            and actions in part.rpartition(":")[2]
            for part in text.removeprefix("Bearer ").split("+")
        )

    def _token(self, fake: FakeRegistry) -> Answer:
        assert fake.login is not None
        if self.command == "POST":
            form = parse_qs(self.body.decode())
            if form["refresh_token"] != [fake.login[1]]:
                return Answer(status=401)
            return _json({"access_token": form["scope"][0].replace(" ", "+")})
        word = base64.b64encode(":".join(fake.login).encode()).decode()
        if self.headers.get("Authorization") != f"Basic {word}":
            return Answer(status=401, body=b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}')
        return _json({"token": "+".join(self.query["scope"])})

    def _manifest(self, fake: FakeRegistry, name: str, version: str) -> Answer:
        if self.command == "PUT":
            return self._take(fake, name, version)
        result = fake.manifests.get((name, version))
        if result is None:
            return Answer(status=404)
        kind, text = result
        return Answer(
            headers={
                "Content-Type": kind,
                "Docker-Content-Digest": sha256(text),
                "Content-Length": str(len(text)),
            },
            body=text,
        )

    def _take(self, fake: FakeRegistry, name: str, version: str) -> Answer:
        headers = {"Docker-Content-Digest": sha256(self.body)}
        if version.startswith("sha256-") and fake.forgets:
            fake.forgets -= 1
            return Answer(status=201, headers=headers)
        kind = self.headers["Content-Type"]
        for one in (version, sha256(self.body)):
            fake.manifests[name, one] = (kind, self.body)
        subject = json.loads(self.body).get("subject")
        if subject and fake.referrers_api:
            headers["OCI-Subject"] = subject["digest"]
        return Answer(status=201, headers=headers)

    def _blob(self, fake: FakeRegistry, name: str, digest: str) -> Answer:
        content = fake.blobs.get((name, digest))
        if content is None:
            return Answer(status=404)
        if fake.blobs_elsewhere and self.command == "GET":
            return Answer(status=307, headers={"Location": f"{fake.blobs_elsewhere}{self.path}"})
        return Answer(headers={"Content-Length": str(len(content))}, body=content)

    def _begin(self, fake: FakeRegistry, name: str) -> Answer:
        source = (self.query.get("from", [""])[0], self.query.get("mount", [""])[0])
        if source in fake.blobs and fake.mounts:
            fake.blobs[name, source[1]] = fake.blobs[source]
            return Answer(status=201)
        with fake.lock:
            address = f"{self.path}{len(fake.uploads) + 1}"
            fake.uploads[address] = b""
        return Answer(status=202, headers={"Location": f"{address}?state=a"})

    def _upload(self, fake: FakeRegistry, name: str, _: str) -> Answer:
        if self.command == "POST":
            return self._begin(fake, name)
        held = fake.uploads[self.path]
        headers = {"Location": f"{self.path}?state=a", "Range": f"0-{max(0, len(held) - 1)}"}
        whole = held + self.body
        if self.command == "GET" or len(self.body) > fake.most:
            return Answer(status=204 if self.command == "GET" else 413, headers=headers)
        if self.command == "PATCH":
            if self.headers["Content-Range"] != f"{len(held)}-{len(whole) - 1}":
                return Answer(status=416)
            fake.uploads[self.path] = whole
            return Answer(status=202, headers=headers)
        digest = self.query["digest"][0]
        if sha256(whole) != digest or self.query["state"] != ["a"]:
            return Answer(status=400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"x"}]}')
        time.sleep(fake.upload_seconds)
        if digest not in fake.loses:
            fake.blobs[name, digest] = whole
        return Answer(status=201, headers={"Docker-Content-Digest": digest})

    def _referrers(self, fake: FakeRegistry, name: str, digest: str) -> Answer:
        if not fake.referrers_api:
            return Answer(status=404)
        results = []
        for (place, version), (kind, text) in fake.manifests.items():
            content: dict[str, Any] = json.loads(text)
            if (
                place == name
                and version == sha256(text)
                and content.get("subject", {}).get("digest") == digest
            ):
                results.append(
                    {
                        "mediaType": kind,
                        "digest": version,
                        "size": len(text),
                        "artifactType": content["artifactType"],
                        "annotations": content.get("annotations", {}),
                    }
                )
        start = int(self.query.get("n", ["0"])[0])
        headers = {"Content-Type": OCI_INDEX}
        if start + fake.pages < len(results):
            headers["Link"] = f'<{urlsplit(self.path).path}?n={start + fake.pages}>; rel="next"'
        page = results[start : start + fake.pages]
        return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page}, headers)


def _json(content: object, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        headers={"Content-Type": "application/json", **(headers or {})},
        body=json.dumps(content).encode(),
    )
