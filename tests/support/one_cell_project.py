"""A project of one cell, whose wheels are made up and served by an index that may stop halfway.

Its system is the real one, which the store of the user has from the real image, so that a whole
build takes seconds.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

from dlimg.context import Context
from dlimg.lock.lockfile import lock_text
from dlimg.lock.store import read_lock
from dlimg.model import BuiltImage, Wheel
from dlimg.store.store import Store, layer_store
from dlimg.store.systems import copy_system, system_source
from tests.support import real_jax, small_images, wheel_files
from tests.support.http_server import served

REGISTRY = f"dlimg-faults-{small_images.TOKEN}"
MATRIX = f"""\
registry: {REGISTRY}
operating_systems:
  debian13: {{distribution: Debian 13, image: "debian:trixie-slim"}}
families:
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["jax=={{version}}"]
"""
SIZE = 48_000_000
BUILD = ("build", "--builder", "layers", real_jax.CELL)


@dataclass(kw_only=True)
class Index:
    """Files by their path; after `shut` the largest one breaks off, and no other comes."""

    files: dict[str, bytes] = field(default_factory=dict)
    opened: Event = field(default_factory=Event)
    halfway: Event = field(default_factory=Event)
    address: str = ""

    def shut(self) -> None:
        self.halfway.clear()
        self.opened.clear()


@contextmanager
def index_of(wheels: Sequence[Path]) -> Iterator[Index]:
    """The index of these wheels, open."""
    index = Index()
    index.opened.set()
    for path in wheels:
        name, content = wheel_files.locked(path).name, path.read_bytes()
        digest = wheel_files.locked(path).sha256
        link = f'<a href="/{path.name}#sha256={digest}" data-core-metadata="true">{path.name}</a>'
        index.files[f"/simple/{name}/"] = (
            f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
        )
        index.files[f"/{path.name}"] = content
        version = wheel_files.locked(path).version
        index.files[f"/{path.name}.metadata"] = wheel_files.metadata(name, version).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = index.files.get(self.path, b"")
            start = int(self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0] or 0)
            self.send_response((206 if start else 200) if content else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            half = max(start, len(content) // 2 if len(content) > SIZE else 0)
            try:
                self.wfile.write(content[start:half])
                if len(content) > SIZE:
                    index.halfway.set()
                    index.opened.wait(60)
                self.wfile.write(content[half:])
            except ConnectionError:
                pass  # whoever asked was killed

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with served(Handler) as index.address:
        try:
            yield index
        finally:
            index.opened.set()


@dataclass(frozen=True, kw_only=True)
class OneCellProject:
    """The project in its folder, with its caches."""

    folder: Path
    index: Index
    real: BuiltImage
    wheels: tuple[Wheel, ...]

    def store(self, name: str) -> Store:
        return Store(path=self.folder / name / "dlimg/layers")

    def ready(self, name: str) -> Store:
        """A store of this name with the system's layer alone."""
        store = self.store(name)
        copy_system(
            system_source(self.real.planned), layer_store(Context.of(os.environ, print)), store
        )
        return store

    def start(self, cache: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "dlimg", *arguments],
            cwd=self.folder,
            env=self.environment(cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self, cache: str) -> Mapping[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(real_jax.ROOT),
            "XDG_CACHE_HOME": str(self.folder / cache),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "UV_DEFAULT_INDEX": f"{self.index.address}/simple",
            "NO_PROXY": "127.0.0.1",
        }

    def said(self, cache: str, *arguments: str, code: int = 0) -> str:
        """The standard error of a command that ends with this code."""
        with self.start(cache, *arguments) as child:
            _, message = child.communicate(timeout=300)
        assert "Traceback" not in message, message
        assert child.returncode == code, message
        return message

    def built(self, cache: str, *arguments: str) -> str:
        """The digest of the image, after a build of it."""
        with self.start(cache, *BUILD, "--format", "json", *arguments) as child:
            out, message = child.communicate(timeout=300)
        return digest_of(child.returncode, out, message)


def digest_of(code: int, out: str, text: str) -> str:
    """The digest of the image that a build has made, from its output."""
    assert "Traceback" not in text, text
    assert code == 0, text
    (line,) = json.loads(out)
    assert not line["cached"]
    return str(line["digest"])


@contextmanager
def one_cell_project(folder: Path, built: BuiltImage) -> Iterator[OneCellProject]:
    """The project, in this folder."""
    (folder / "images").symlink_to(real_jax.ROOT / "images")
    (folder / "matrix.yaml").write_text(MATRIX)
    # Other than in any other run: an engine fetches nothing that it has from there.
    noise = os.urandom(SIZE)
    files: dict[str, bytes | str] = {"jax/__init__.py": "x = 1\n", "jax/noise": noise}
    paths = [
        wheel_files.wheel(folder, "jax", files, version="0.12.0.1", stored=["jax/noise"]),
        wheel_files.wheel(folder, "pip", {"pip/__init__.py": "y = 2\n"}, version="26.3"),
    ]
    wheels = tuple(map(wheel_files.locked, paths))
    lock = read_lock(real_jax.CELL, real_jax.ROOT / "locks")
    assert lock
    (folder / "locks").mkdir()
    (folder / "locks" / f"{real_jax.CELL}.json").write_text(lock_text(replace(lock, wheels=wheels)))
    with index_of(paths) as index:
        yield OneCellProject(folder=folder, index=index, real=built, wheels=wheels)
