"""Which Python a system has: one digest over what of it decides on byte code."""

import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final

from dlimg.store.keys import source_of

# Its program, its library where the program is not all of it, and the module that compiles.
_PROGRAM: Final = re.compile(r"(usr|usr/local|opt/python/[^/]+)/bin/python3\.\d+")
_LIBRARY: Final = re.compile(r"(usr|usr/local|opt/python/[^/]+)/lib/(.*/)?libpython3[^/]*\.so[^/]*")
_COMPILER: Final = re.compile(
    r"(usr|usr/local|opt/python/[^/]+)/lib/python3\.\d+/(py_compile|importlib/util)\.py"
)
_LINKED: Final = b"libpython3."


def interpreter_of(blobs: Iterable[Path]) -> str:
    """A sha256 for the Pythons in these layers, lowest first; the same for systems with the same.

    Where none is found the layers themselves are what decides.
    """
    found: dict[str, str] = {}
    linked = False
    names = []
    for blob in blobs:
        names.append(blob.name)
        for path, digest, is_linked in _parts(blob):
            found[path] = digest
            linked = linked or is_linked
    # A library that no program is linked with comes with the headers, and compiles nothing.
    decisive = {path: one for path, one in found.items() if linked or not _LIBRARY.fullmatch(path)}
    if not any(map(_PROGRAM.fullmatch, decisive)):
        return source_of(names)
    return _told(decisive)


def _parts(blob: Path) -> Iterator[tuple[str, str, bool]]:
    """Each part of a Python in a layer: its path, its sha256, and whether it is linked."""
    archive: Any = tarfile.open(blob, mode="r:gz")  # noqa: SIM115 - closed below
    with archive:
        for member in archive:
            path = member.name.removeprefix("./")
            if not member.isfile():
                continue
            if _PROGRAM.fullmatch(path):
                content = archive.extractfile(member).read()
                yield path, sha256(content).hexdigest(), _LINKED in content
            elif _LIBRARY.fullmatch(path) or _COMPILER.fullmatch(path):
                yield path, file_digest(archive.extractfile(member), "sha256").hexdigest(), False


def _told(found: Mapping[str, str]) -> str:
    return source_of(f"{path} {digest}" for path, digest in sorted(found.items()))
