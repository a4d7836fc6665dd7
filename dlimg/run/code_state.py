"""The state of a folder at a moment: of code by git or digest, of data by a cheap summary."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.host.git_revision import revision_of
from dlimg.run.model import CodeState, Fingerprint

# A digest must not delay a run: of large files only the size and time are read, and at most so
# many files in all.
_READ_BYTES: Final = 2**20
_TOTAL_BYTES: Final = 64 * 2**20
_MOST_FILES: Final = 5_000
_MOST_DATA_FILES: Final = 20_000
_SKIPPED: Final = frozenset({".git", ".venv", "__pycache__", "node_modules", ".ipynb_checkpoints"})


def code_state(folder: Path, skipped: frozenset[Path], context: Context) -> CodeState:
    """Return the git commit of the folder, or a digest of its files without the skipped folders."""
    revision = revision_of(folder, context)
    if revision.commit:
        return CodeState(commit=revision.commit, dirty=revision.dirty)
    return CodeState(digest=_digest(folder, skipped))


def _digest(folder: Path, skipped: frozenset[Path]) -> str:
    digest, bytes_left = hashlib.sha256(), _TOTAL_BYTES
    for number, path in enumerate(_files(folder, skipped)):
        if number == _MOST_FILES:
            digest.update(b"...")
            break
        try:
            status = path.lstat()
            digest.update(
                f"{path.relative_to(folder)}\0{status.st_size}\0".encode(errors="replace")
            )
            if status.st_size <= min(_READ_BYTES, bytes_left) and path.is_file():
                digest.update(path.read_bytes())
                bytes_left -= status.st_size
            else:
                digest.update(str(status.st_mtime_ns).encode())
        except OSError:
            digest.update(b"unreadable")
    return f"sha256:{digest.hexdigest()}"


def _files(folder: Path, skipped: frozenset[Path]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        inside = Path(parent)
        folders[:] = sorted(
            name for name in folders if name not in _SKIPPED and inside / name not in skipped
        )
        yield from (inside / name for name in sorted(files))


def fingerprint(path: Path) -> Fingerprint:
    """Return a summary of a folder or file: its files, bytes and newest change."""
    files, size, newest = 0, 0, 0
    for entry, is_file in _entries(path):
        try:
            status = entry.lstat()
        except OSError:
            continue
        newest = max(newest, status.st_mtime_ns)
        size += status.st_size if is_file else 0
        files += is_file
        if files > _MOST_DATA_FILES:
            return Fingerprint(files=-1, size=0, newest=path.stat().st_mtime_ns)
    return Fingerprint(files=files, size=size, newest=newest)


def files_and_bytes(path: Path) -> tuple[int, int]:
    """Return the number of files at and below a path, and their bytes; none without the path."""
    files = [entry for entry, is_file in _entries(path) if is_file and os.path.lexists(entry)]
    return len(files), sum(file.lstat().st_size for file in files)


def _entries(path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folders and files at and below a path, and which of them are files."""
    yield path, not path.is_dir()
    for parent, folders, files in os.walk(path):
        yield from ((Path(parent) / name, False) for name in folders)
        yield from ((Path(parent) / name, True) for name in files)
