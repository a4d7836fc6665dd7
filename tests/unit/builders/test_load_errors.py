"""Errors of an engine that does not load an image, with a hint for each."""

import hashlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest

from dlimg.builders.load import temporary_image
from dlimg.engine.client import Engine
from dlimg.errors import Negative, NoEngine
from dlimg.host.process import end_children, wait_until

# It looks at the manifest, as an engine does, and says what one says that cannot go on.
PULL = """\
#!{python}
import sys, urllib.request
host, _, rest = sys.argv[-1].partition("/")
name, _, digest = rest.partition("@")
if {asks}:
    urllib.request.urlopen(f"http://{{host}}/v2/{{name}}/manifests/{{digest}}").close()
sys.exit({said!r})
"""


def an_engine(folder: Path, text: str, *, asks: bool = True) -> Engine:
    program = folder / "docker"
    program.write_text(PULL.format(python=sys.executable, said=text, asks=asks))
    program.chmod(0o755)

    def remove(_: str) -> None:
        raise docker.errors.ImageNotFound("it never had it")

    sdk: Any = SimpleNamespace(images=SimpleNamespace(remove=remove))
    result: Any = SimpleNamespace(
        docker=program, environment={"PATH": "/usr/bin:/bin"}, host="unix:///there", sdk=sdk
    )
    return cast("Engine", result)


def refused(engine: Engine, method: str) -> Negative | NoEngine:
    kind = "application/vnd.oci.image"
    layer = {"mediaType": f"{kind}.layer.v1.tar+{method}", "digest": "sha256:0", "size": 1}
    content = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "layers": [layer]}
    manifest = json.dumps(content).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    with (
        pytest.raises((Negative, NoEngine)) as caught,
        temporary_image(engine, manifest, digest, {}),
    ):
        pytest.fail("it was taken")
    assert isinstance(caught.value, Negative | NoEngine)
    return caught.value


@pytest.mark.parametrize(
    ("method", "said", "hint"),
    [
        # Docker 20.10, which knows no zstd.
        ("zstd", "failed to register layer: archive/tar: invalid tar header", "--compression gzip"),
        ("zstd", "unsupported media type x.layer.v1.tar+zstd", "--compression gzip"),
        # Readers that stop at the first member of a gzip file.
        ("gzip", "failed to extract layer: unexpected EOF", "--compression zstd"),
        ("gzip", "wrong diff id calculated on extraction", "--builder buildkit"),
        ("gzip", "no space left on device", "--builder buildkit"),
    ],
)
def test_a_load_error_says_what_to_do(tmp_path: Path, method: str, said: str, hint: str) -> None:
    (problem,) = refused(an_engine(tmp_path, said), method).problems
    assert problem.message == f"the engine does not load the image: {said}"
    assert hint in problem.hint
    assert ("--compression" in problem.hint) == (said != "no space left on device")


def test_an_engine_that_never_connected_is_reported_as_such(tmp_path: Path) -> None:
    error = refused(an_engine(tmp_path, "connection refused by gzip", asks=False), "gzip")
    assert isinstance(error, NoEngine)
    assert "does not reach this host's loopback" in error.problems[0].message


@pytest.mark.slow
def test_an_interrupted_load_waits_for_an_engine_that_unpacks(tmp_path: Path) -> None:
    engine = an_engine(tmp_path, "")
    text = f"#!/bin/sh\ntouch {tmp_path}/began; sleep 8; touch {tmp_path}/unpacked\n"
    engine.docker.write_text(text)
    logged: list[str] = []
    unpacked = threading.Event()
    parts: Any = engine
    parts.context = SimpleNamespace(log=logged.append)
    parts.sdk.images.get = lambda _: SimpleNamespace(id="sha256:1", attrs={"Os": "linux"})

    def load() -> None:
        with temporary_image(engine, b"{}", "sha256:0", {}):
            unpacked.set()

    with ThreadPoolExecutor() as pool:
        loading = pool.submit(load)
        assert wait_until((tmp_path / "began").exists, 30)
        end_children()
        assert (tmp_path / "unpacked").exists()
        loading.result(timeout=30)
    assert unpacked.is_set()
    assert logged == ["the engine has all layers; waiting until it has unpacked them"]
