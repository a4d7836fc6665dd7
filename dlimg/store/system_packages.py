"""The packages of an image: dpkg's list of what is installed, and the build of a managed Python.

Neither is locked: they come in the version of the day, so the content key names them. They are
read from layers here, from an image by `dlimg.builders.image_packages`, and in a container by
the check `tag_is_true`:

    /var/lib/dpkg/status              dpkg's list of packages
    /opt/python/current -> NAME       the Python that uv installed, where one was
    /opt/python/NAME/BUILD            the release of that build, such as `20261110`
"""

import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from dlimg.layer.whiteout import hides, is_mark, path_of

STATUS: Final = "var/lib/dpkg/status"
PYTHONS: Final = "opt/python"
CURRENT: Final = f"{PYTHONS}/current"
BUILD: Final = "BUILD"

_BUILD_FILE: Final = re.compile(rf"{PYTHONS}/[^/]+/{BUILD}")
# States in which nothing of a package but its settings is there.
_ABSENT: Final = ("not-installed", "config-files")
_SHOWN: Final = 3


def packages(status: str, python: str = "", build: str = "") -> tuple[str, ...]:
    """Sorted `name:arch=version` of dpkg's list, and `NAME=BUILD` of a managed Python."""
    found = {*_installed(status)}
    if python:
        found.add(f"{python}={build.strip()}")
    return tuple(sorted(found))


def packages_digest(found: Iterable[str]) -> str:
    """The sha256 over these packages, sorted, one a line."""
    text = "".join(f"{line}\n" for line in sorted(found))
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def packages_in(blobs: Iterable[Path]) -> tuple[str, ...]:
    """The packages in these gzip layers, lowest first: what a layer hides or replaces is gone."""
    files: dict[str, str] = {}
    for blob in blobs:
        here, marks = _read(blob)
        hidden = {path for path in files for mark in marks if hides(mark, path)}
        files = {path: text for path, text in files.items() if path not in hidden} | here
    return _packages_of(files)


def moved_text(before: Collection[str], after: Collection[str]) -> str:
    """The first few packages in which two lists differ, such as `-tzdata:all=1 +tzdata:all=2`."""
    signs = {line: "-" for line in before if line not in after}
    signs |= {line: "+" for line in after if line not in before}
    lines = [f"{signs[line]}{line}" for line in sorted(signs)]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return " ".join([*lines[:_SHOWN], *more])


def _installed(status: str) -> Iterator[str]:
    for stanza in status.split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if line[:1].isupper())
        fields = {name: value.strip() for name, _, value in lines}
        state = fields.get("Status", "").rpartition(" ")[2]
        if state and state not in _ABSENT:
            name, arch = fields.get("Package", ""), fields.get("Architecture", "")
            yield f"{name}:{arch}={fields.get('Version', '')}"


def _packages_of(files: Mapping[str, str]) -> tuple[str, ...]:
    python = files.get(CURRENT, "")
    return packages(files.get(STATUS, ""), python, files.get(f"{PYTHONS}/{python}/{BUILD}", ""))


def _read(blob: Path) -> tuple[dict[str, str], list[str]]:
    """The files that tell, by path, with a link's target as its text; and marks of removals."""
    found: dict[str, str] = {}
    marks: list[str] = []
    archive: Any = tarfile.open(blob, mode="r:gz")  # noqa: SIM115 - closed below
    with archive:
        for member in archive:
            path = path_of(member)
            if is_mark(path):
                marks.append(path)
            elif path == CURRENT and member.issym():
                found[path] = member.linkname
            elif member.isfile() and (path == STATUS or _BUILD_FILE.fullmatch(path)):
                found[path] = archive.extractfile(member).read().decode(errors="replace")
    return found, marks
