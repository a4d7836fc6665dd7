"""Sizes and RECORDs by range requests, from an index on the loopback."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure
from dlimg.lock.pylock import ResolvedWheel
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import uv_environment
from tests.support.http_server import served

NO_SETTINGS = Context.of({}, print)
RECORD = "pkg/__init__.py,sha256=abc,1\npkg-1.dist-info/RECORD,,\n"


def wheel_bytes(padding: int = 200_000) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pkg/data.bin", b"x" * padding)
        archive.writestr("pkg/vendor-1.dist-info/RECORD", "not this one")
        archive.writestr("pkg-1.dist-info/RECORD", RECORD)
    return content.getvalue()


@dataclass
class Server:
    address: str = ""
    content: bytes = field(default_factory=wheel_bytes)
    ranges: bool = True
    login: str = ""
    status: int = 0
    sent: list[int] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if state.login and self.headers.get("Authorization") != state.login:
                self.answer(401, b"")
            elif state.status:
                self.answer(state.status, b"")
            elif state.ranges and (asked := self.headers.get("Range")):
                start, _, end = asked.removeprefix("bytes=").partition("-")
                size = len(state.content)
                first = int(start) if start else max(0, size - int(end))
                last = int(end) if start else size - 1
                part = state.content[first : last + 1]
                self.answer(206, part, f"bytes {first}-{last}/{size}")
            else:
                self.answer(200, state.content)

        def answer(self, status: int, body: bytes, content_range: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if content_range:
                self.send_header("Content-Range", content_range)
            self.end_headers()
            self.wfile.write(body)
            state.sent.append(len(body))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with served(Handler) as state.address:
        yield state


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def found(address: str, content: bytes = b"") -> ResolvedWheel:
    return ResolvedWheel(
        name="pkg",
        version="1",
        file="pkg-1-py3-none-any.whl",
        sha256=hashlib.sha256(content).hexdigest(),
        address=f"{address}/pkg-1-py3-none-any.whl",
    )


def test_only_the_end_of_a_wheel_is_fetched_and_only_once(server: Server, tmp_path: Path) -> None:
    contents = open_index(NO_SETTINGS, tmp_path).read(found(server.address))
    assert (contents.size, contents.record) == (len(server.content), RECORD)
    assert sum(server.sent) < 80_000
    server.status = 404
    assert open_index(NO_SETTINGS, tmp_path).read(found(server.address)) == contents


def test_a_damaged_cache_is_asked_anew(server: Server, tmp_path: Path) -> None:
    index = open_index(NO_SETTINGS, tmp_path)
    contents = index.read(found(server.address))
    (stored,) = tmp_path.glob("*.json")
    stored.write_text(stored.read_text()[:30])
    assert index.read(found(server.address)) == contents


def test_a_cache_that_cannot_be_written_is_no_failure(server: Server, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert open_index(NO_SETTINGS, blocked / "cache").read(found(server.address)).record == RECORD


def test_a_server_without_ranges_sends_the_whole_wheel(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    contents = open_index(NO_SETTINGS, tmp_path).read(found(server.address))
    assert (contents.size, contents.record) == (len(server.content), RECORD)


def test_a_large_wheel_is_not_fetched_as_a_whole(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlimg.pypi.index.WHOLE_WHEEL", 1000)
    server.ranges = False
    with pytest.raises(NetworkFailure, match="only all of it"):
        open_index(NO_SETTINGS, tmp_path).read(found(server.address))


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX", "PIP_INDEX_URL"])
def test_credentials_of_the_index_reach_its_host_only(
    server: Server, tmp_path: Path, variable: str
) -> None:
    server.login = "Basic dXNlcjpwQHNz"  # user:p@ss
    name = "mirror=" if variable == "UV_INDEX" else ""
    environment = {variable: f"{name}http://user:p%40ss@127.0.0.1:1/simple"}
    assert (
        open_index(Context.of(environment, print), tmp_path / "a")
        .read(found(server.address))
        .record
        == RECORD
    )
    elsewhere = {variable: "http://user:p%40ss@mirror.test/simple"}
    with pytest.raises(NetworkFailure, match="401"):
        open_index(Context.of(elsewhere, print), tmp_path / "b").read(found(server.address))


def test_credentials_of_netrc(server: Server, tmp_path: Path) -> None:
    server.login = "Basic dXNlcjpwQHNz"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password p@ss\n")
    assert open_index(NO_SETTINGS, tmp_path / "a").read(found(server.address)).record == RECORD


def test_a_wheel_that_is_gone(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(NetworkFailure, match=r"127.0.0.1 does not give pkg-1.*404"):
        open_index(NO_SETTINGS, tmp_path).read(found(server.address))


def test_what_is_no_wheel(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>" * 20_000
    with pytest.raises(Negative, match="is not a wheel"):
        open_index(NO_SETTINGS, tmp_path).read(found(server.address))


def test_a_wheel_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "pkg-1-py3-none-any.whl").write_bytes(wheel_bytes())
    contents = open_index(NO_SETTINGS, tmp_path / "cache").read(found(folder.as_uri()))
    assert (contents.size, contents.record) == (len(wheel_bytes()), RECORD)
    with pytest.raises(Negative, match="cannot read the wheel"):
        open_index(NO_SETTINGS, tmp_path).read(found((tmp_path / "gone").as_uri()))


@pytest.mark.parametrize(
    ("environment", "verify"),
    [
        ({}, True),
        ({"SSL_CERT_FILE": "/a.pem"}, "/a.pem"),
        ({"REQUESTS_CA_BUNDLE": "/b.pem", "SSL_CERT_FILE": "/a.pem"}, "/a.pem"),
        ({"REQUESTS_CA_BUNDLE": "/b.pem", "PIP_CERT": "/p.pem"}, "/p.pem"),
        ({"REQUESTS_CA_BUNDLE": "/b.pem", "SSL_CERT_FILE": "/proc"}, "/b.pem"),
        ({"SSL_CERT_FILE": ""}, True),
    ],
)
def test_certificates(tmp_path: Path, environment: dict[str, str], verify: object) -> None:
    assert open_index(Context.of(environment, print), tmp_path).session.verify == verify


def test_the_chosen_certificates_win_over_the_variables_of_requests(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, other = tmp_path / "a.pem", tmp_path / "b.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    environment = {"SSL_CERT_FILE": str(bundle), "REQUESTS_CA_BUNDLE": str(other)}
    for ranges in (True, False):
        server.ranges = ranges
        index = open_index(Context.of(environment, print), tmp_path / str(ranges))
        seen: list[object] = []

        class Adapter(HTTPAdapter):
            def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
                seen.append(options["verify"])  # noqa: B023
                return super().send(request, **options)

        index.session.mount("http://", Adapter())
        index.read(found(server.address))
        assert set(seen) == {str(bundle)}


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, {}),
        ({"PIP_INDEX_URL": "p"}, {"UV_DEFAULT_INDEX": "p"}),
        ({"PIP_INDEX_URL": "p", "UV_INDEX_URL": "u"}, {"UV_DEFAULT_INDEX": "u"}),
        ({"PIP_INDEX_URL": "p", "UV_DEFAULT_INDEX": "u"}, {"UV_DEFAULT_INDEX": "u"}),
        ({"PIP_INDEX_URL": "p", "UV_INDEX": "u"}, {"UV_INDEX": "u"}),
        ({"UV_EXTRA_INDEX_URL": "u", "UV_INDEX": "name=v"}, {"UV_INDEX": "name=v u"}),
        (
            {"PIP_EXTRA_INDEX_URL": "https://x  https://y"},
            {"UV_INDEX": "https://x https://y", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        (
            {"PIP_EXTRA_INDEX_URL": "x", "PIP_INDEX_URL": "p", "UV_INDEX_STRATEGY": "first-index"},
            {"UV_DEFAULT_INDEX": "p", "UV_INDEX": "x", "UV_INDEX_STRATEGY": "first-index"},
        ),
        ({"PIP_EXTRA_INDEX_URL": "x", "UV_DEFAULT_INDEX": "u"}, {"UV_DEFAULT_INDEX": "u"}),
        ({"PIP_CERT": "/c.pem", "SSL_CERT_FILE": "/proc"}, {"SSL_CERT_FILE": "/c.pem"}),
        ({"REQUESTS_CA_BUNDLE": "/b.pem"}, {"SSL_CERT_FILE": "/b.pem"}),
        (
            {"REQUESTS_CA_BUNDLE": "/b.pem", "SSL_CERT_FILE": "/a.pem"},
            {"SSL_CERT_FILE": "/a.pem"},
        ),
    ],
)
def test_uv_gets_the_index_and_certificates_of_pip(
    environment: dict[str, str], settings: dict[str, str]
) -> None:
    passed = uv_environment(Context.of(environment, print))
    of_uv = {
        name: value for name, value in passed.items() if name.startswith(("UV_", "SSL_CERT_FILE"))
    }
    assert of_uv == {"UV_NO_CONFIG": "1", **settings}
    assert passed.items() >= {
        (name, value) for name, value in environment.items() if name.startswith("PIP_")
    }
