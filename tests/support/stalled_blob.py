"""A blob of an image that stops half-way, and the content that an engine's containerd has."""

import io
import re
import threading
from pathlib import Path
from typing import cast

from dlimg.builders.loopback_registry import Content
from dlimg.engine.client import Engine
from dlimg.host.process import run_checked

_SECONDS = 60.0


class StalledBlob(type(Path())):  # type: ignore[misc]  # the class of this system's paths
    """The path of a blob whose reader stops half-way until `resumed`, as from a slow disk."""

    content: bytes
    half_read: threading.Event
    resumed: threading.Event

    def open(self, *_: object, **__: object) -> "_StalledFile":
        return _StalledFile(self)


class _StalledFile(io.BufferedReader):
    """Has no file number, so that a server reads it block by block."""

    def __init__(self, blob: StalledBlob) -> None:
        super().__init__(cast("io.RawIOBase", io.BytesIO(blob.content)))
        self.blob = blob

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(self.blob.content) // 2:
            self.blob.half_read.set()
            self.blob.resumed.wait(_SECONDS)
        return super().read(size)


def stalled_blob(content: Content) -> StalledBlob:
    blob = StalledBlob("stalled")
    blob.content = cast("bytes", content)
    blob.half_read, blob.resumed = threading.Event(), threading.Event()
    return blob


def contents(engine: Engine) -> set[str]:
    """Return the digests of all content in the engine's containerd, and of what it fetches."""
    address = Path(engine.host.removeprefix("unix://")).parent / "exec/containerd/containerd.sock"
    if not address.exists():
        address = Path("/run/containerd/containerd.sock")
    program = engine.docker.with_name("ctr")
    ctr = [str(program), "--address", str(address), "--namespace", "moby", "content"]
    complete = run_checked([*ctr, "ls", "--quiet"]).stdout.split()
    fetched = re.findall(r"sha256:[0-9a-f]{64}", run_checked([*ctr, "active"]).stdout)
    return {*complete, *fetched}
