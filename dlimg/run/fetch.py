"""Copies of a run's results, from its output folder or its container."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import docker

from dlimg.engine.client import Engine
from dlimg.errors import BadInput


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder's content into another; files of the same names are replaced."""
    if Path(os.path.realpath(target)).is_relative_to(source.resolve()):
        raise BadInput(f"{target} is inside the output", where="--to", hint="name another")
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def fetch_path(container: str, path: str, target: Path, engine: Engine) -> None:
    """Copy a path of a container into a folder. Raises BadInput if it does not exist."""
    api: Any = engine.sdk.api
    try:
        chunks, _ = api.get_archive(container, path)
    except docker.errors.NotFound as error:
        hint = "`dlimg ps` shows which runs still have a container"
        raise BadInput(f"there is no {path} in the container", where="--path", hint=hint) from error
    unpack(chunks, target)


def unpack(chunks: Iterable[bytes], target: Path) -> None:
    """Unpack a tar into a folder; links and paths that lead out of it are refused."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=_Chunks(chunks), mode="r|") as tar:
        # Python has filters of its own since 3.11.4, and Debian 12 has an older one.
        tar.extraction_filter = lambda member, _: member
        for member in tar:
            tar.extract(_checked(member, target), target)


def _checked(member: tarfile.TarInfo, target: Path) -> tarfile.TarInfo:
    """Return the member as a file of this user. Raises BadInput if it would be elsewhere."""
    root = Path(os.path.realpath(target))
    paths = [root / member.name]
    if member.issym():
        paths.append(root / Path(member.name).parent / member.linkname)
    if member.islnk():
        paths.append(root / member.linkname)
    is_inside = all(Path(os.path.realpath(path)).is_relative_to(root) for path in paths)
    if not is_inside or not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        reason = "leads out of the folder" if not is_inside else "is a device or a pipe"
        raise BadInput(f"the archive is refused: {member.name!r} {reason}", where=str(target))
    member.mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
    if hasattr(os, "geteuid"):
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
    return member


class _Chunks(io.RawIOBase):
    """A readable file made of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._unread = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._unread:
            try:
                self._unread = next(self._chunks)
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._unread))
        buffer[:count], self._unread = self._unread[:count], self._unread[count:]
        return count
