"""Checks of the lock (DLIMG_LOCK) against installed packages and the image's own list."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import _tag
import _verdict

# How the users' environment finds the image's: images/_layout/overlay.sh writes it.
START = "/opt/env/lib/python/site-packages/dlimg_start.py"
IMAGE = re.compile(r"[0-9a-f]{12}\n")
NOTE = re.compile(r"/usr/local/lib/dlimg/packages/[0-9a-f]+/[A-Z0-9_.]+\n")
SITE = r"import site; site\.addsitedir\('{0}/env/lib/python3\.[0-9]+/site-packages'\)\n"
MANYLINUX = r"manylinux[0-9_]+_(x86_64|aarch64)$"
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Wheel(NamedTuple):
    """A wheel of the lock: `file` is its name on the package index.

    `record` is the sha256 that its RECORD has once it is installed, or empty; `replaced` are the
    paths in it where the file of another wheel is.
    """

    version: str
    file: str
    sha256: str
    record: str = ""
    replaced: tuple[str, ...] = ()


def read() -> dict[str, Wheel]:
    """Return the wheels by name; none without DLIMG_LOCK."""
    path = os.environ.get("DLIMG_LOCK")
    if not path:
        return {}
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        wheels = {
            row["name"]: Wheel(
                row["version"],
                row["file"],
                row["sha256"],
                row.get("record", ""),
                tuple(row.get("replaced", ())),
            )
            for row in rows
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _verdict.fail(f"DLIMG_LOCK: {path} is no lock: {error!r}")
    _verdict.demand(wheels, f"DLIMG_LOCK: {path} names no wheel")
    return wheels


def note_mismatches(
    wheels: Mapping[str, Wheel], noted: Mapping[str, str], hashes: Mapping[str, set[str]]
) -> list[str]:
    """Return where the image's own list (`noted` versions, `hashes`) differs from the lock."""
    mismatches = [
        f"{name}: the lock has {wheels[name].version if name in wheels else 'none'}, "
        f"the image notes {noted.get(name, 'none')}"
        for name in sorted(wheels.keys() | noted.keys())
        if name not in wheels or noted.get(name) != wheels[name].version
    ]
    return mismatches + [
        f"{name}: the image notes another sha256 than the lock's"
        for name, wheel in wheels.items()
        if name in noted and hashes.get(name) != {wheel.sha256}
    ]


def hashes(requirement: str) -> set[str]:
    """Return the digests that a line of requirements allows."""
    return set(HASH.findall(requirement))


def tag_mismatches(wheels: Mapping[str, Wheel], notes: Mapping[str, str]) -> list[str]:
    """Return packages whose WHEEL file has other tags than the locked wheel's file name.

    `notes` are the texts of the WHEEL files. A file name may compress several tags into one, and
    a wheel that was renamed after its build may note `linux_x86_64` for a manylinux of x86_64, or
    more or fewer manylinux of its architecture.
    """
    return [
        f"{name}: the lock's wheel is {wheels[name].file}, installed is one for "
        f"{' '.join(sorted(tags(text))) or 'nothing'}"
        for name, text in sorted(notes.items())
        if name in wheels and not are_alike(tags(text), expanded(wheels[name].file))
    ]


def are_alike(noted: set[str], named: set[str]) -> bool:
    """Return whether tags are the same, or differ only in the manylinux that they name."""
    if noted in (named, as_built(named)):
        return True
    differing = noted ^ named
    return (
        bool(noted & named)
        and (noted < named or named < noted)
        and as_built(noted) == as_built(named)
        and all(re.search(MANYLINUX, tag) for tag in differing)
    )


def as_built(names: set[str]) -> set[str]:
    """Return tags with `linux_x86_64` for each manylinux of x86_64."""
    return {re.sub(MANYLINUX, r"linux_\1", tag) for tag in names}


def tags(text: str) -> set[str]:
    """Return the tags in the text of a WHEEL file; some builders compress several into one."""
    rows = (line.partition(":") for line in text.splitlines())
    values = {value.strip() for key, _, value in rows if key == "Tag"}
    return {
        tag for value in values for tag in (expanded(value) if value.count("-") == 2 else {value})
    }


def expanded(file: str) -> set[str]:
    """Return the tags of a file name, or of compressed tags: for `py2.py3-none-any` two."""
    pythons, abis, platforms = file.removesuffix(".whl").split("-")[-3:]
    return {
        f"{python}-{abi}-{platform}"
        for python in pythons.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    }


def strays(folders: Iterable[Path], owned: set[str]) -> list[str]:
    """Return files in these folders that no package has, apart from byte code and overlays."""
    return sorted(
        path
        for top in folders
        for folder, _, names in os.walk(top)
        for path in (f"{folder}/{name}" for name in names)
        if path not in owned and not is_byte_code(path) and not is_overlay(path)
    )


def of_layout() -> set[str]:
    """Return the layout's own files by DLIMG_LAYOUT; none without it."""
    path = os.environ.get("DLIMG_LAYOUT")
    if not path:
        return set()
    try:
        nodes = json.loads(Path(path).read_text(encoding="utf-8"))["nodes"]
        return {f"/{node['path']}" for node in nodes}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _verdict.fail(f"DLIMG_LAYOUT: {path} is no layout: {error!r}")


def is_byte_code(path: str) -> bool:
    return path.endswith(".pyc") and path.split("/")[-2] == "__pycache__"


def is_overlay(path: str) -> bool:
    """Return whether this file belongs to the link between the image's environments."""
    file = Path(path)
    if file.name == "dlimg.image":
        return bool(IMAGE.fullmatch(file.read_text(errors="replace")))
    if file.suffix not in {".pth", ".egg-link"}:
        return file.name == "dlimg_start.py" and str(file.resolve()) == START
    text = file.read_text(errors="replace")
    if file.suffix == ".egg-link":
        return bool(NOTE.fullmatch(text))
    known = {
        "dlimg_start.pth": text == "import dlimg_start; dlimg_start.main()\n",
        "easy-install.pth": not text,
    }
    sites = "|".join(
        SITE.format(re.escape(place)) for place in (_tag.cell().get("home"), "/opt") if place
    )
    return known.get(file.name) or bool(
        file.name == "dlimg.pth" and re.fullmatch(f"({sites})+", text)
    )
