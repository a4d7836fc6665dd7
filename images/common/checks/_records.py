"""The RECORDs of installed packages: their files, and whether these are as they were published."""

import base64
import csv
import hashlib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import _tag

UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")


class Row(NamedTuple):
    """A row of RECORD: the package, where its file lies here, and the three fields."""

    package: str
    place: Path
    fields: list[str]


def rows(package: metadata.Distribution) -> list[Row]:
    """Return the rows of a package's RECORD; none where it has no RECORD."""
    name = package.metadata["Name"] or ""
    listed = csv.reader((package.read_text("RECORD") or "").splitlines())
    return [Row(name, Path(str(package.locate_file(row[0]))), row) for row in filter(None, listed)]


def is_whole(file: Path, row: list[str]) -> bool:
    """Return whether the file has the hash and size of its row in RECORD.

    Only RECORD itself, and signatures of it, may have no digest there.
    """
    digest, size = row[1:]
    try:
        if size and file.stat().st_size != int(size):
            return False
        if not digest:
            return file.name in UNHASHED and file.is_file()
        algorithm, _, wanted = digest.partition("=")
        with file.open("rb") as content:
            problems = hashlib.file_digest(content, algorithm).digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(problems).decode().rstrip("=") == wanted


def by_place() -> dict[Path, Row]:
    """Return the rows of all installed packages by the real path of their file."""
    listed = [row for package in _tag.installed() for row in rows(package)]
    folders = {folder: folder.resolve() for folder in {row.place.parent for row in listed}}
    return {folders[row.place.parent] / row.place.name: row for row in listed}


def modules(package: str, listed: dict[Path, Row]) -> list[str]:
    """Return the names by which a package's topmost modules are imported.

    A folder without `__init__.py`, which several packages may fill, has none of its own.
    """
    paths = [Path(row.fields[0]) for row in listed.values() if _tag.normal(row.package) == package]
    folders = {path.parent for path in paths if path.name == "__init__.py"} - {Path()}
    names = {
        ".".join(folder.parts) for folder in folders if not folders.intersection(folder.parents)
    }
    for path in paths:
        if len(path.parts) == 1 and path.suffix in (".py", ".so"):
            names.add(path.name.partition(".")[0])
    return sorted(name for name in names if all(map(str.isidentifier, name.split("."))))
