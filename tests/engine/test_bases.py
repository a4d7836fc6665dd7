"""Bases on a real engine: bootstrapped with the same bytes each time, and used after FROM."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dlimg.debian import bootstrap
from dlimg.engine import bases
from dlimg.engine.client import Engine
from dlimg.errors import NetworkFailure
from dlimg.host import process
from dlimg.model import Base, BaseSource, OperatingSystem

pytestmark = pytest.mark.engine

DEBIAN = OperatingSystem(
    name="debian13",
    distribution="Debian 13",
    vendor="debian",
    suite="trixie",
    image="debian:trixie-slim",
    python="3.13",
)
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "sha256:" + "1" * 64,
                "size": 1,
                "platform": {"architecture": "amd64", "os": "linux"},
            }
        ],
    }
).encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"


class Registry(BaseHTTPRequestHandler):
    """A registry with one image index."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        result = self.path == "/v2/" or self.path.endswith(("/manifests/slim", DIGEST))
        self.send_response(200 if result else 404)
        self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
        self.send_header("Content-Length", str(len(MANIFEST)))
        self.send_header("Docker-Content-Digest", DIGEST)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(MANIFEST)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a registry that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def base(engine: Engine, turn: Callable[[], AbstractContextManager[None]]) -> Base:
    with turn():
        return bases.find_base(engine, DEBIAN, choice="bootstrap", pins={}, log=print)


def kept_at(image: str) -> OperatingSystem:
    return OperatingSystem(
        name=DEBIAN.name,
        distribution=DEBIAN.distribution,
        vendor=DEBIAN.vendor,
        suite=DEBIAN.suite,
        image=image,
        python=DEBIAN.python,
    )


def test_a_bootstrapped_base_is_small_and_whole(engine: Engine, base: Base) -> None:
    assert base.source is BaseSource.BOOTSTRAP
    name = base.reference.removeprefix("docker-image://")
    script = (
        "set -e; dpkg --audit; apt-get check --quiet=2; test -s /etc/ssl/certs/ca-certificates.crt;"
        "ls /etc/machine-id /var/lib/apt/lists/*_* /usr/share/man/man1 2>/dev/null || echo gone"
    )
    messages = engine.sdk.containers.run(name, ["bash", "-c", script], remove=True)
    assert messages == b"gone\n"
    assert engine.sdk.images.get(name).attrs["Config"]["Cmd"] == ["bash"]


def test_an_existing_base_is_not_made_again(engine: Engine, base: Base) -> None:
    messages: list[str] = []
    again = bases.find_base(engine, DEBIAN, choice="bootstrap", pins={}, log=messages.append)
    assert again == base
    assert not messages  # it was not made, nor waited for


@pytest.mark.slow
def test_a_base_made_twice_has_the_same_bytes(engine: Engine, base: Base, tmp_path: Path) -> None:
    tools = bases.tools_folder(engine.context)
    tar = tmp_path / "again.tar"
    identity = bootstrap.make_rootfs(DEBIAN, tar, tools=tools, log=print)
    before = engine.sdk.images.get(base.reference.removeprefix("docker-image://"))
    layers = before.attrs["RootFS"]["Layers"]
    if identity != base.identity:  # the distribution has moved on since the base was made
        tar.rename(tmp_path / "first.tar")
        layers = [digest_of(tmp_path / "first.tar")]
        assert bootstrap.make_rootfs(DEBIAN, tar, tools=tools, log=print) == identity
    assert layers == [digest_of(tar)]


def digest_of(file: Path) -> str:
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


@pytest.mark.parametrize("name", ["debian:trixie-slim", f"debian:trixie-slim@sha256:{'a' * 64}"])
def test_bake_replaces_the_image_named_by_from(
    name: str, engine: Engine, base: Base, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN grep -q trixie /etc/os-release\n")
    target = {"contexts": {name: base.reference}, "output": ["type=cacheonly"]}
    process.run_checked(
        [str(engine.docker), "buildx", "bake", "--file", "-", "one"],
        env=engine.environment,
        cwd=tmp_path,
        stdin=json.dumps({"target": {"one": target}}),
        timeout=60,
    )


@pytest.mark.parametrize("pins", [{}, {"debian13": DIGEST}])
def test_a_base_from_a_registry(pins: dict[str, str], engine: Engine, registry: str) -> None:
    image = f"{registry}/debian:slim"
    messages: list[str] = []
    result = bases.find_base(engine, kept_at(image), choice="auto", pins=pins, log=messages.append)
    assert result == Base(
        os="debian13",
        source=BaseSource.REGISTRY,
        identity=DIGEST,
        reference=f"docker-image://{image}@{DIGEST}",
    )
    assert messages == [f"debian13 comes from the registry: {image}@{DIGEST}"]


def test_a_base_that_the_registry_lacks(engine: Engine, registry: str) -> None:
    with pytest.raises(NetworkFailure, match=r"/debian:none is not available from its registry"):
        bases.find_base(
            engine, kept_at(f"{registry}/debian:none"), choice="registry", pins={}, log=print
        )


def test_a_registry_that_hangs_is_given_up(engine: Engine, base: Base, silent: str) -> None:
    started = time.monotonic()
    messages: list[str] = []
    result = bases.find_base(
        engine, kept_at(f"{silent}/debian:slim"), choice="auto", pins={}, log=messages.append
    )
    assert result == base
    assert time.monotonic() - started < bases.REGISTRY_SECONDS + 15
    assert "comes from the distribution's packages" in messages[0]
