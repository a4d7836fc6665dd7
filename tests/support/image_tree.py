"""The files of images, as tars tell of them."""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from dlimg.engine.client import Engine

# What the engine itself puts into every container, and the folder that it changes so.
ENGINES = re.compile(r"(\.dockerenv|dev|etc/(hostname|hosts|mtab|resolv\.conf)|proc|sys)(/.*)?|etc")
IS_OURS = "opt/env/"


@dataclass(frozen=True, kw_only=True)
class File:
    """All that a tar says of a file; byte code is known by its name alone."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    time: float
    content: str


def tree(engine: Engine, digest: str) -> Mapping[str, File]:
    """The files of an image, by path."""
    container = engine.sdk.containers.create(digest)
    try:
        return files(cast("Iterable[bytes]", container.export()))
    finally:
        container.remove()


def files(chunks: Iterable[bytes], *, start: str = "") -> Mapping[str, File]:
    """The files of a tar that comes in chunks, by path below `start`."""
    with tarfile.open(fileobj=cast("IO[bytes]", _Stream(chunks)), mode="r|") as tar:
        result = {member.name.removeprefix(start).strip("/"): _file(tar, member) for member in tar}
    return {path: file for path, file in result.items() if path and not ENGINES.fullmatch(path)}


def is_byte_code(path: str) -> bool:
    return path.startswith(IS_OURS) and path.endswith(".pyc")


class _Stream:
    """Chunks as a file that is read from the front."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self.chunks = iter(chunks)
        self.held = b""

    def read(self, size: int) -> bytes:
        parts = [self.held]
        have = len(self.held)
        while have < size and (chunk := next(self.chunks, b"")):
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        self.held = whole[size:]
        return whole[:size]


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> File:
    file = tar.extractfile(member) if member.isreg() and not is_byte_code(member.name) else None
    content = (
        hashlib.file_digest(cast("io.BufferedReader", file), "sha256").hexdigest()
        if file
        else member.linkname
    )
    return File(
        kind=member.type,
        mode=member.mode,
        owner=(member.uid, member.gid),
        time=member.mtime,
        content=content,
    )
