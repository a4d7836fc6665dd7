"""What `lint --online` learns: from an index and a registry on the loopback."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.lint.catalogue import lint
from dlimg.lint.model import IndexAnswer, LintContext
from dlimg.model import Wheel
from dlimg.pipeline.lint import ask_online
from tests.support import samples
from tests.support.fake_registry import OCI_MANIFEST, FakeRegistry, running, sha256
from tests.support.http_server import served
from tests.unit.lint.test_findings import JAX_CPU, MATRIX, lint_context

MANIFEST = b'{"schemaVersion": 2, "layers": []}'


def wheel_bytes(name: str, content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("both/a.py", content)
        archive.writestr(f"{name}-1.0.dist-info/RECORD", f"both/a.py,sha256={content},1\n")
    return buffer.getvalue()


FILES = {
    f"{name}-1.0-py3-none-any.whl": wheel_bytes(name, name) for name in ("first", "second", "tired")
}
PAGES = {
    "first": ("first-1.0-py3-none-any.whl", ""),
    "second": ("second-1.0-py3-none-any.whl", ""),
    "tired": ("tired-1.0-py3-none-any.whl", ' data-yanked="it  crashes"'),
}


@pytest.fixture
def index() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            parts = self.path.strip("/").split("/")
            answers = self._page(parts[1]) if parts[0] == "simple" else FILES.get(parts[-1])
            self.send_response(200 if answers else 404)
            kind = "text/html" if parts[0] == "simple" else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answers or b"")))
            self.end_headers()
            if body:
                self.wfile.write(answers or b"")

        def _page(self, name: str) -> bytes:
            if name not in PAGES:
                return b""
            file, yanked = PAGES[name]
            digest = hashlib.sha256(FILES[file]).hexdigest()
            return f'<a href="/files/{file}#sha256={digest}"{yanked}>{file}</a>'.encode()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with served(Handler) as address:
        yield f"{address}/simple"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as fake:
        fake.manifests["debian", "trixie-slim"] = (OCI_MANIFEST, MANIFEST)
        yield fake


def wheel(name: str, sha: str = "") -> Wheel:
    file = f"{name}-1.0-py3-none-any.whl"
    digest = hashlib.sha256(FILES.get(file, b"")).hexdigest()
    return samples.wheel(name, "1.0", file=file, sha256=sha or digest)


def context_at(host: str, *wheels: Wheel, pin: str = "") -> LintContext:
    text = MATRIX.replace('"debian:trixie-slim"', f'"{host}/debian:trixie-slim"')
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=wheels)}
    return lint_context(text, locks=locks, pins={"debian13": pin or sha256(MANIFEST)})


def environment(index: str, folder: Path) -> Mapping[str, str]:
    path = os.environ["PATH"]  # uv looks for a Python
    return {
        "PATH": path,
        "UV_DEFAULT_INDEX": index,
        "XDG_CACHE_HOME": str(folder),
        "HOME": str(folder),
    }


def quiet(_: str) -> None:
    pass


def test_the_index_and_the_registry_are_asked(
    index: str, registry: FakeRegistry, tmp_path: Path
) -> None:
    local = replace(wheel("mine"), local=True)
    context = context_at(
        registry.host, wheel("first"), wheel("second"), wheel("tired"), wheel("gone"), local
    )
    answers = ask_online(context, Context.of(environment(index, tmp_path), quiet))
    assert answers.unanswered == ()
    assert answers.offers == {
        wheel("first").file: IndexAnswer(state="there"),
        wheel("second").file: IndexAnswer(state="there"),
        wheel("tired").file: IndexAnswer(state="yanked", reason="it crashes"),
        wheel("gone").file: IndexAnswer(state="gone"),
    }
    assert answers.records[wheel("first").sha256] == "both/a.py,sha256=first,1\n"
    assert answers.digests == {"debian13": sha256(MANIFEST)}
    linted = lint(replace(context, answers=answers))
    assert {finding.id for finding in linted.findings} == {
        "same-path",
        "wheel-gone",
        "wheel-yanked",
    }


def test_another_content_under_the_same_name_is_gone(
    index: str, registry: FakeRegistry, tmp_path: Path
) -> None:
    context = context_at(registry.host, wheel("first", "0" * 64))
    answers = ask_online(context, Context.of(environment(index, tmp_path), quiet))
    offer = answers.offers[wheel("first").file]
    assert (offer.state, offer.reason) == ("gone", "a file of the same name has another sha256")


def test_a_base_that_moved_or_is_gone(index: str, registry: FakeRegistry, tmp_path: Path) -> None:
    context = context_at(registry.host, wheel("first"), pin=f"sha256:{'7' * 64}")
    answers = ask_online(context, Context.of(environment(index, tmp_path), quiet))
    assert [finding.id for finding in lint(replace(context, answers=answers)).findings] == [
        "base-moved"
    ]
    registry.manifests.clear()
    answers = ask_online(context, Context.of(environment(index, tmp_path), quiet))
    assert answers.digests == {"debian13": ""}
    assert "no longer has" in lint(replace(context, answers=answers)).findings[0].message


def test_a_routed_wheel_is_looked_for_in_its_index(
    index: str, registry: FakeRegistry, tmp_path: Path
) -> None:
    routed = replace(wheel("second"), index="own")
    context = context_at(registry.host, wheel("first"), routed)
    silent = "http://127.0.0.1:9/simple"
    for default, own, named, unanswered in (
        (silent, index, routed, "the package index: "),
        (index, silent, wheel("first"), "the index own: "),
    ):
        resolution = replace(context.resolution, indexes={"own": own})
        answers = ask_online(
            replace(context, resolution=resolution),
            Context.of(environment(default, tmp_path), quiet),
        )
        assert answers.offers == {named.file: IndexAnswer(state="there")}
        (missing,) = answers.unanswered
        assert missing.startswith(unanswered)


def test_hosts_that_do_not_answer_are_named(tmp_path: Path) -> None:
    nobody = "127.0.0.1:9"
    context = context_at(nobody, wheel("first"))
    answers = ask_online(
        context, Context.of(environment(f"http://{nobody}/simple", tmp_path), quiet)
    )
    assert (answers.offers, answers.digests) == ({}, {})
    first, second = answers.unanswered
    assert first.startswith("the package index: ")
    assert second.startswith(f"the registry {nobody}: ")
    assert lint(replace(context, answers=answers)).skipped[-2:] == answers.unanswered
