"""Extra folders of the user with wheels (`--find-links`), and the locked wheels in them."""

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.lock.built_wheels import built_folders
from dlimg.model import Lock, Wheel

_INDEX_VARIABLES: Final = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")


def wheel_folders(flags: Sequence[str], context: Context) -> tuple[Path, ...]:
    """Return the extra wheel folders in order, without repeats, URLs and missing folders.

    The folders of wheels that `dlimg wheel` built come last.

    Raises BadInput for a missing folder of the command line.
    """
    for flag in flags:
        if not Path(flag).is_dir():
            raise BadInput(f"--find-links {flag} is not a folder", hint="name one with wheels")
    # uv splits at commas, pip at white space.
    uv = context.environment.get("UV_FIND_LINKS", "").split(",")
    pip = context.environment.get("PIP_FIND_LINKS", "").split()
    indexes = (context.environment.get(name, "").split() for name in _INDEX_VARIABLES)
    of_indexes = [str(path) for entry in chain(*indexes) if (path := folder_of_index(entry))]
    names = (name.strip().removeprefix("file://") for name in (*flags, *uv, *pip, *of_indexes))
    folders = [Path(name).absolute() for name in names if name and Path(name).is_dir()]
    return tuple(dict.fromkeys((*folders, *built_folders(context))))


def folder_of_index(entry: str) -> Path | None:
    """Return the folder of an index `file://FOLDER` that has wheels and no pages of packages."""
    scheme, _, path = entry.rpartition("=")[2].partition("file://")
    folder = Path(path)
    return folder if path and not scheme and next(folder.glob("*.whl"), None) else None


def find_local_wheel(folders: Sequence[Path], wheel: Wheel, *, where: str = "") -> Path | None:
    """Return the wheel's path in the first folder that has it; None for a wheel of the index.

    Raises BadInput for a local wheel that is missing or has another sha256.
    """
    candidates = [path for folder in folders if (path := folder / wheel.file).is_file()]
    locked = next((path for path in candidates if is_locked_wheel(path, wheel)), None)
    if locked or not wheel.local:
        return locked
    if candidates:
        raise BadInput(
            f"{candidates[0]} has another sha256 than the lock",
            where=where,
            hint=f"bring back the wheel that was locked, or run `{f'dlimg lock {where}'.strip()}`",
        )
    raise BadInput(
        f"the wheel {wheel.file} is in none of the extra folders",
        where=where,
        hint="name its folder with --find-links, UV_FIND_LINKS or PIP_FIND_LINKS",
    )


def is_locked_wheel(path: Path, wheel: Wheel) -> bool:
    """Return whether the file has the sha256 of the locked wheel."""
    return file_sha256(path) == wheel.sha256


def file_sha256(path: Path) -> str:
    """Return the file's sha256; the file is read again only after it changed."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _mtime: int, _inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place_local_wheels(lock: Lock, find_links: Sequence[Path], folder: Path) -> str:
    """Put local wheels, and wheels of named indexes that an extra folder has, into a folder.

    Return its path, or an empty text without any. Raises BadInput when no extra folder has a local
    wheel with the locked sha256.
    """
    candidates = {
        wheel.file: find_local_wheel(find_links, wheel, where=lock.name)
        for wheel in lock.wheels
        if wheel.local or wheel.index
    }
    paths = {file: path for file, path in candidates.items() if path}
    if not paths:
        return ""
    folder.mkdir(parents=True)
    for file, path in paths.items():
        _link_or_copy(path, folder / file)
    return str(folder)


def _link_or_copy(source: Path, target: Path) -> None:
    # A hard link works only within one file system and for files of the same owner.
    with contextlib.suppress(OSError):
        target.hardlink_to(source)
        return
    shutil.copyfile(source, target)
