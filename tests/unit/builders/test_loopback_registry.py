"""The loopback registry: it serves one image, in whole blobs or in ranges."""

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dlimg.builders.loopback_registry import NAME, Content, ServedImage, serve_image

KIND = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": KIND}).encode()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


LAYER = b"".join(number.to_bytes(4) for number in range(64_000))
CONFIG = b'{"os":"linux"}'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedImage]:
    file = tmp_path / "layer"
    file.write_bytes(LAYER)
    blobs: dict[str, Content] = {sha256(LAYER): file, sha256(CONFIG): CONFIG}
    with serve_image(MANIFEST, blobs) as result:
        yield result


def asked(served: ServedImage, path: str, method: str = "GET", **headers: str) -> requests.Response:
    return requests.request(
        method, f"http://{served.host}{path}", headers=headers, timeout=5, proxies={"http": ""}
    )


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        (f"/v2/{NAME}/manifests/{sha256(MANIFEST)}", MANIFEST, KIND),
        (f"/v2/{NAME}/blobs/{sha256(LAYER)}", LAYER, "application/octet-stream"),
        (f"/v2/{NAME}/blobs/{sha256(CONFIG)}", CONFIG, "application/octet-stream"),
    ],
)
def test_the_registry_serves_what_the_image_names(
    served: ServedImage, path: str, content: bytes, kind: str
) -> None:
    answer = asked(served, path)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Docker-Content-Digest"] == sha256(content)
    head = asked(served, path, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(content))


@pytest.mark.parametrize(
    "path",
    [
        f"/v2/{NAME}/manifests/latest",
        f"/v2/{NAME}/manifests/{sha256(CONFIG)}",
        f"/v2/{NAME}/blobs/{sha256(b'another')}",
        f"/v2/{NAME}/blobs/{sha256(MANIFEST)}",
        f"/v2/other/blobs/{sha256(LAYER)}",
        f"/v2/{NAME}/blobs/../../../etc/passwd",
        "/etc/passwd",
        "/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_registry_serves_nothing_else(served: ServedImage, path: str, method: str) -> None:
    assert asked(served, path, method).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_the_registry_takes_no_uploads(served: ServedImage, method: str) -> None:
    path = f"/v2/{NAME}/blobs/{sha256(LAYER)}"
    assert asked(served, path, method).status_code == 501
    assert asked(served, path).content == LAYER


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-9", 206, LAYER[:10]),
        ("bytes=1000-", 206, LAYER[1000:]),
        (f"bytes=10-{10**9}", 206, LAYER[10:]),
        (f"bytes={len(LAYER)}-", 416, b""),
        ("bytes=0-", 200, LAYER),
        ("lines=1-2", 200, LAYER),
    ],
)
def test_byte_ranges_are_served(served: ServedImage, wanted: str, status: int, part: bytes) -> None:
    answer = asked(served, f"/v2/{NAME}/blobs/{sha256(LAYER)}", Range=wanted)
    assert (answer.status_code, answer.content) == (status, part)
    if status == 206:
        start = LAYER.index(part)
        last = start + len(part) - 1
        assert answer.headers["Content-Range"] == f"bytes {start}-{last}/{len(LAYER)}"


def test_the_greeting_of_tls_is_answered_in_plain_http(served: ServedImage) -> None:
    """By these bytes, Go's client recognizes an HTTP server and uses plain HTTP."""
    host, _, port = served.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # and no end of line
        assert client.recv(100).startswith(b"HTTP/1.0 400")


def test_a_client_that_goes_away_costs_nothing(served: ServedImage) -> None:
    host, _, port = served.host.partition(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=5) as client:
            request = f"GET /v2/{NAME}/blobs/{sha256(LAYER)} HTTP/1.1\r\nHost: x\r\n\r\n"
            client.sendall(request.encode())
    assert asked(served, "/v2/").status_code == 200


def test_requests_are_counted_and_the_port_closes_afterwards() -> None:
    with serve_image(MANIFEST, {}) as served:
        assert not served.requests
        asked(served, "/v2/")
        assert served.requests == ["GET /v2/"]
    with contextlib.suppress(requests.ConnectionError):
        asked(served, "/v2/")
        pytest.fail("it still answers")


def test_a_registry_that_closes_breaks_off_transfers(tmp_path: Path) -> None:
    file = tmp_path / "layer"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 28)
    with serve_image(MANIFEST, {sha256(LAYER): file}) as served:
        path = f"http://{served.host}/v2/{NAME}/blobs/{sha256(LAYER)}"
        with requests.get(path, stream=True, timeout=5, proxies={"http": ""}) as response:
            served.close()
            with pytest.raises(requests.exceptions.RequestException):
                for _ in response.iter_content(1 << 20):
                    pass
        with pytest.raises(requests.exceptions.ConnectionError):
            asked(served, "/v2/")
        assert served.is_closed
