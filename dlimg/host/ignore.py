"""The files of a folder to send to another machine, by `.dlimgignore` or else `.gitignore`."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

OWN_FILE: Final = ".dlimgignore"
GIT_FILE: Final = ".gitignore"
# Never code that a run needs: caches, environments of this machine, other tools' folders.
_NEVER: Final = frozenset(
    {".git", ".venv", "__pycache__", "node_modules", ".ipynb_checkpoints", ".mypy_cache"}
    | {".pytest_cache", ".ruff_cache", ".DS_Store"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file's size, and the second of its last change."""

    size: int
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a folder by relative path, its empty folders, and what the rules leave out."""

    files: dict[str, FileState] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class IgnoreRules:
    """The patterns of a folder's ignore files; those of deeper folders override."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = OWN_FILE if (folder / OWN_FILE).is_file() else GIT_FILE
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def ignores(self, path: str) -> bool:
        """Return whether a path is left out; one of a folder ends with a slash."""
        parts = path.rstrip("/").split("/")
        return (
            not _NEVER.isdisjoint(parts)
            or any(self._matches(f"{'/'.join(parts[:count])}/") for count in range(1, len(parts)))
            or self._matches(path)
        )

    def _matches(self, path: str) -> bool:
        parts = path.rstrip("/").split("/")
        for count in range(len(parts) - 1, -1, -1):
            prefix = "".join(f"{part}/" for part in parts[:count])
            spec = self._spec(prefix)
            answer = spec.check_file(path.removeprefix(prefix)).include if spec else None
            if answer is not None:
                return bool(answer)
        return False

    def _spec(self, prefix: str) -> GitIgnoreSpec | None:
        if prefix not in self._specs:
            file = self._folder / prefix / self._name
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = ""
            self._specs[prefix] = GitIgnoreSpec.from_lines(text.splitlines()) if text else None
        return self._specs[prefix]


def list_folder(
    folder: Path, *, rules: IgnoreRules | None = None, skipped: Collection[str] = ()
) -> Listing:
    """Return the files of a folder that the rules do not leave out, without skipped paths."""
    listing = Listing()
    _walk(folder, "", rules, skipped, listing)
    return listing


def _walk(
    folder: Path, prefix: str, rules: IgnoreRules | None, skipped: Collection[str], into: Listing
) -> None:
    entries = sorted(os.scandir(folder / prefix), key=lambda entry: entry.name)
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        path = f"{prefix}{entry.name}{'/' if is_folder else ''}"
        if path in skipped:
            continue
        if rules and rules.ignores(path):
            into.ignored.append(path)
        elif is_folder:
            _walk(folder, path, rules, skipped, into)
        else:
            state = file_state(folder / path)
            if state:
                into.files[path] = state
    if prefix and not entries:
        into.empty.append(prefix)


def file_state(path: Path) -> FileState | None:
    """Return the state of a file or link; None if it is missing, or a socket, pipe or device."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
        return FileState(size=status.st_size, time=int(status.st_mtime))
    return None


def first_ignored(listing: Listing, most: int) -> Iterator[str]:
    """Yield names of ignored files and folders, except of caches."""
    names = [path for path in listing.ignored if path.rstrip("/").split("/")[-1] not in _NEVER]
    yield from names[:most]
    if len(names) > most:
        yield f"{len(names) - most} more"
