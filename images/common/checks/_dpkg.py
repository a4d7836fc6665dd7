"""The operating system's files by dpkg's database, and their differences.

dpkg itself is not run: it may be modified too. Paths are compared with links resolved, as
packages may still say `/bin/sh` where `/bin` is a link to `/usr/bin`.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INFO = "var/lib/dpkg/info"
# Bases and images leave out what nobody reads in a container, and an interpreter to embed.
LEFT_OUT = tuple(f"usr/share/{name}/" for name in ("doc", "groff", "info", "lintian", "locale"))
LEFT_OUT += ("usr/share/linda/", "usr/share/man/", "var/lib/apt/lists/")


class Packages(NamedTuple):
    """The paths of all packages' files, with links resolved, and the MD5 sums of files.

    `unsummed` are the paths of packages that ship no sums.
    """

    listed: set[str]
    unsummed: set[str]
    sums: dict[str, str]
    settings: dict[str, str]


class Places:
    """Resolves the links in packages' paths below a root."""

    def __init__(self, top: Path) -> None:
        self.top = top.resolve()
        self.known: dict[str, str] = {}

    def of(self, path: str) -> str:
        """Return the path from the root with the links of its folders resolved."""
        folder, _, name = path.strip("/").rpartition("/")
        if folder not in self.known:
            real = (self.top / folder).resolve()
            self.known[folder] = os.path.relpath(real, self.top) if folder else "."
        return os.path.normpath(f"{self.known[folder]}/{name}")


def read(top: Path) -> Packages:
    """Return the database; it is empty where there is none."""
    places = Places(top)
    moved = dict(diversions(top))
    packages = Packages(set(), set(), {}, {})
    for file in sorted(Path(top, INFO).glob("*.list")):
        owner = file.name.removesuffix(".list").partition(":")[0]
        elsewhere = {path: target for path, (target, by) in moved.items() if by != owner}
        lines = file.read_text().splitlines()
        brought = {places.of(elsewhere.get(line, line)) for line in lines}
        packages.listed.update(brought)
        sums = file.with_suffix(".md5sums")
        if not sums.exists():
            packages.unsummed.update(brought)
            continue
        for line in sums.read_text().splitlines():
            digest, _, path = line.partition("  ")
            packages.sums[places.of(elsewhere.get(f"/{path}", path))] = digest
    packages.settings.update((places.of(path), digest) for path, digest in settings(top))
    return packages


def diversions(top: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each diverted path, its new path, and the package that may use the old one."""
    try:
        lines = Path(top, "var/lib/dpkg/diversions").read_text().splitlines()
    except FileNotFoundError:
        return
    for path, target, owner in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        yield path, (target, owner)


def settings(top: Path) -> Iterator[tuple[str, str]]:
    """Yield settings files with their original sums, without obsolete ones."""
    is_here = False
    for line in Path(top, "var/lib/dpkg/status").read_text().splitlines():
        if line.startswith(" "):
            path, digest, *more = line.split() if is_here else ("", "", "none")
            if not more:
                yield path, digest
        else:
            is_here = line == "Conffiles:"


def changed(top: Path, packages: Packages) -> list[str]:
    """Return the files that differ from their package's."""
    sums = packages.sums.items() | packages.settings.items()
    return [path for path, digest in sorted(sums) if _sum(top / path) not in ("", digest)]


def gone(top: Path, packages: Packages) -> list[str]:
    """Return the missing files of packages; settings may be missing."""
    expected = packages.listed - packages.settings.keys()
    return sorted(
        path
        for path in expected
        if not f"{path}/".startswith(LEFT_OUT)
        and not is_embedded(path)
        and not os.path.lexists(top / path)
    )


def replaced(top: Path, packages: Packages) -> list[str]:
    """Return packages' links that are files now, or that lead to a file of no package."""
    top = top.resolve()
    paths = []
    for path in sorted(packages.listed - packages.sums.keys() - packages.unsummed):
        file = top / path
        if path.startswith("usr/") and os.path.lexists(file) and not file.is_dir():
            real = os.path.relpath(file.resolve(), top)
            if not file.is_symlink() or not is_known(real, packages):
                paths.append(path)
    return paths


def is_known(path: str, packages: Packages) -> bool:
    """Return whether a path is a package's, or in a folder whose files are made later (`etc`)."""
    return path in packages.listed or path.startswith(("etc/", "run/", "proc/", "dev/"))


def is_embedded(path: str) -> bool:
    """Return whether this is Python as a static library."""
    name = path.rpartition("/")[2]
    return name.startswith("libpython") and name.endswith(".a")


def _sum(file: Path) -> str:
    """Return the MD5 of a file, which dpkg keeps; empty where there is no file."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return "no file"
        with file.open("rb") as content:
            return hashlib.file_digest(
                content, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    except FileNotFoundError:
        return ""


def installed(top: Path) -> frozenset[str]:
    """Return the names of installed packages."""
    text = Path(top, "var/lib/dpkg/status").read_text()
    parts = (part.splitlines() for part in text.split("\n\n"))
    return frozenset(
        line.removeprefix("Package: ")
        for part in parts
        if "Status: install ok installed" in part
        for line in part
        if line.startswith("Package: ")
    )
