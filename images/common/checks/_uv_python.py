"""Claims for a Python that uv installed: the tree below `/opt/python`.

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

from _claims import PLAIN, PROGRAM, Claims, Image, Judge, file, folder, lines, link
from _databases import source_of

ROOT = "opt/python"
BUILD = "BUILD"  # the day of the archive, which uv writes down
PARTS = ("bin", "include", "lib", "share")
RUN_BY_ITSELF = re.compile(
    r".*\.pth|.*\._pth|(site|user)customize(\..*)?|pybuilddir\.txt|pyvenv\.cfg"
)
PACKAGES = re.compile(r"lib/python3\.[0-9]+/site-packages/(.+)")
README = "README.txt"
MODES = (PLAIN, PROGRAM, 0o444, 0o555)


def claims(image: Image, version: str) -> Claims:
    """Return claims for the tree of this version; none with the distribution's Python."""
    if not version:
        return {}
    names = [name for name in image.names(ROOT) if name.startswith(f"cpython-{version}-")]
    by_path: Claims = {ROOT: folder(), f"{ROOT}/current": link(*names)}
    minor = version.rpartition(".")[0]
    for name in image.names(ROOT):
        if name.startswith(f"cpython-{minor}-"):  # uv's name for the newest of a minor version
            by_path[f"{ROOT}/{name}"] = link(*names, *(f"/{ROOT}/{name}" for name in names))
    for name in names[:1]:
        top = f"{ROOT}/{name}"
        by_path[f"{top}/{BUILD}"] = lines(image, f"{top}/{BUILD}", "[0-9]{8}")
        vouched = set(packaged(image, top))
        by_path[top] = folder()
        for path, entry in image.tree.entries.items():
            if path.startswith(f"{top}/") and is_known(path, top, vouched):
                by_path[path] = judge(image, path, path.removeprefix(f"{top}/"), entry.kind)
    return by_path


def is_known(path: str, top: str, vouched: set[str]) -> bool:
    """Return whether a path may be in the archive, by its name or by the RECORD of a package."""
    inner, name = path.removeprefix(f"{top}/"), PurePosixPath(path).name
    if inner.partition("/")[0] not in PARTS or RUN_BY_ITSELF.fullmatch(name):
        return False
    package = PACKAGES.fullmatch(inner)
    return not package or package[1] == README or bool({path, source_of(path)} & vouched)


def judge(image: Image, path: str, inner: str, kind: str) -> Judge:
    """Return the fault of a link that leaves the tree; files are not judged."""
    if kind == "folder":
        return folder()
    if kind == "link":
        target = image.tree.entries[path].target
        steps = os.path.normpath(f"{PurePosixPath(inner).parent}/{target}")
        return link() if target.startswith("/") or steps.startswith("..") else link(target)
    return file(modes=MODES)


def packaged(image: Image, top: str) -> Iterator[str]:
    """Yield the paths that RECORDs in the tree's site-packages list, with their folders."""
    for path in list(image.tree.entries):
        if not (path.startswith(f"{top}/") and path.endswith(".dist-info/RECORD")):
            continue
        place = PurePosixPath(path).parent.parent
        for name, digest, *_ in filter(None, csv.reader(image.text(path).splitlines())):
            file_path = os.path.normpath(f"{place}/{name}")
            if file_path == path or is_whole(image, file_path, digest):
                yield file_path
                folders = PurePosixPath(file_path).relative_to(top).parents
                yield from (f"{top}/{name}" for name in folders)
                yield from (f"{top}/{name}/__pycache__" for name in folders)


def is_whole(image: Image, path: str, digest: str) -> bool:
    algorithm, _, wanted = digest.partition("=")
    try:
        content = (image.top / path).read_bytes()
        by_path = hashlib.new(algorithm, content).digest()
    except (OSError, ValueError):
        return False
    return base64.urlsafe_b64encode(by_path).decode().rstrip("=") == wanted


def shown(image: Image) -> str:
    """Return a digest over the tree's files, links and modes, without byte code."""
    digest = hashlib.sha256()
    inside = [path for path in image.tree.entries if path.startswith(f"{ROOT}/")]
    for path in sorted(inside):
        entry = image.tree.entries[path]
        if entry.kind == "file" and not source_of(path):
            with (image.top / path).open("rb") as content:
                by_path = hashlib.file_digest(content, "sha256").hexdigest()
            digest.update(f"{path}\0{entry.mode:o}\0{by_path}\n".encode(errors="surrogateescape"))
        elif entry.kind == "link":
            digest.update(f"{path}\0{entry.target}\n".encode(errors="surrogateescape"))
    return digest.hexdigest() if inside else ""
