"""A Python that the distribution does not bring: the tree that uv unpacks into `/opt/python`.

uv compares the archive with the digest that it holds of it, and uv itself is locked by hash. The
archive has no list of its files, so what is seen here is their shape: nothing besides the one
version, nothing that Python would run by itself, nobody's files but root's, and no packages but
those that RECORD vouches for. A digest over the whole tree is shown: it is the same for all images
with this Python.
"""

import base64
import csv
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from _claims import PLAIN, PROGRAM, Claims, Image, Judge, file, folder, link
from _state import source_of

ROOT = "opt/python"
PARTS = ("bin", "include", "lib", "share")
RUN_BY_ITSELF = re.compile(
    r".*\.pth|.*\._pth|(site|user)customize(\..*)?|pybuilddir\.txt|pyvenv\.cfg"
)
PACKAGES = re.compile(r"lib/python3\.[0-9]+/site-packages/(.+)")
README = "README.txt"
MODES = (PLAIN, PROGRAM, 0o444, 0o555)


def claims(image: Image, version: str) -> Claims:
    """Claims for the tree of this version; none for an image with the distribution's Python."""
    if not version:
        return {}
    names = [one for one in image.names(ROOT) if one.startswith(f"cpython-{version}-")]
    found: Claims = {ROOT: folder(), f"{ROOT}/current": link(*names)}
    for name in names[:1]:
        top = f"{ROOT}/{name}"
        recorded = set(packaged(image, top))
        found[top] = folder()
        for path, entry in image.tree.entries.items():
            if path.startswith(f"{top}/"):
                inner = path.removeprefix(f"{top}/")
                if is_known(inner, recorded):
                    found[path] = judge(image, path, inner, entry.kind)
    return found


def is_known(inner: str, recorded: set[str]) -> bool:
    """Whether a path may be of the archive, by its name alone."""
    first, name = inner.partition("/")[0], PurePosixPath(inner).name
    if first not in PARTS or name.startswith(".") or RUN_BY_ITSELF.fullmatch(name):
        return False
    package = PACKAGES.fullmatch(inner)
    return not package or inner in recorded or package[1] == README


def judge(image: Image, path: str, inner: str, kind: str) -> Judge:
    """Links stay in the tree; files have no more to say of themselves."""
    if kind == "folder":
        return folder()
    if kind == "link":
        target = image.tree.entries[path].target
        steps = os.path.normpath(f"{PurePosixPath(inner).parent}/{target}")
        return link() if target.startswith("/") or steps.startswith("..") else link(target)
    return file(modes=MODES)


def packaged(image: Image, top: str) -> Iterator[str]:
    """What RECORDs in the tree's own folder for packages vouch for, by size and hash."""
    library = next((name for name in image.names(f"{top}/lib") if name.startswith("python3.")), "")
    place = f"lib/{library}/site-packages"
    for name in image.names(f"{top}/{place}"):
        if not name.endswith(".dist-info"):
            continue
        text = image.text(f"{top}/{place}/{name}/RECORD")
        for path, digest, *_ in filter(None, csv.reader(text.splitlines())):
            inner = os.path.normpath(f"{place}/{path}")
            if not digest or is_whole(image, f"{top}/{inner}", digest):
                yield inner
                yield from map(str, list(PurePosixPath(inner).parents)[:-4])
    modules = (path.removeprefix(f"{top}/") for path in image.tree.entries if path.endswith(".pyc"))
    yield from (inner for inner in modules if f"{top}/{source_of(inner)}" in image.tree.entries)
    caches = (path for path in image.tree.entries if path.endswith("/__pycache__"))
    yield from (path.removeprefix(f"{top}/") for path in caches if path.startswith(f"{top}/"))


def is_whole(image: Image, path: str, digest: str) -> bool:
    algorithm, _, wanted = digest.partition("=")
    try:
        content = (image.top / path).read_bytes()
    except OSError:
        return False
    found = hashlib.new(algorithm, content).digest()
    return base64.urlsafe_b64encode(found).decode().rstrip("=") == wanted


def shown(image: Image) -> str:
    """A digest over the tree's files, links and modes, byte code apart; empty without a tree."""
    digest = hashlib.sha256()
    inside = [path for path in image.tree.entries if path.startswith(f"{ROOT}/")]
    for path in sorted(inside):
        entry = image.tree.entries[path]
        if entry.kind == "file" and not source_of(path):
            with (image.top / path).open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            digest.update(f"{path}\0{entry.mode:o}\0{found}\n".encode(errors="surrogateescape"))
        elif entry.kind == "link":
            digest.update(f"{path}\0{entry.target}\n".encode(errors="surrogateescape"))
    return digest.hexdigest() if inside else ""
