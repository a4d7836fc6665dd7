"""The entries of a layer: files, links and folders, sorted by path."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput
from dlimg.wheel.archive import ArchiveMember
from dlimg.wheel.unpack import iter_content

FILE_MODE: Final = 0o644
EXECUTABLE_MODE: Final = 0o755
LINK_MODE: Final = 0o777  # the mode of links, which is ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedContent:
    """The content of a wheel's member, to be copied without inflating it."""

    wheel: Path
    member: ArchiveMember


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """The target of a symbolic link, which need not exist."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """A file, a link or, without content, a folder; `owner` is the wheel that it comes from."""

    path: str
    mode: int
    content: PackedContent | bytes | LinkTarget | None
    owner: str

    @property
    def size(self) -> int:
        match self.content:
            case None | LinkTarget():
                return 0
            case PackedContent(member=member):
                return member.size
            case bytes():
                return len(self.content)


def folder_entry(path: str, *, owner: str = "") -> LayerEntry:
    return LayerEntry(path=path, mode=EXECUTABLE_MODE, content=None, owner=owner)


def link_entry(path: str, target: str, *, owner: str = "") -> LayerEntry:
    return LayerEntry(path=path, mode=LINK_MODE, content=LinkTarget(target), owner=owner)


def iter_entry_content(source: PackedContent | bytes) -> Iterator[bytes]:
    """Yield the content in chunks; raises BadInput if it differs from the wheel's directory."""
    if isinstance(source, bytes):
        yield source
    else:
        yield from iter_content(source.wheel, source.member)


def arrange_entries(entries: Iterable[LayerEntry]) -> tuple[LayerEntry, ...]:
    """Sort entries by path, each path once, and add the folders above them.

    The same content twice is one file, executable if either is. Raises BadInput for two wheels
    with different files at one path, or with a file and a folder.
    """
    by_path: dict[str, LayerEntry] = {}
    for entry in entries:
        other = by_path.get(entry.path)
        by_path[entry.path] = entry if other is None else _merge(other, entry)
    for entry in list(by_path.values()):
        for parent in _parents(entry.path):
            above = by_path.get(parent)
            if above is None:
                by_path[parent] = folder_entry(parent, owner=entry.owner)
            elif above.content is None:
                break  # the folders above it are added for this entry itself
            else:
                raise _conflict(above, entry)
    return tuple(by_path[path] for path in sorted(by_path))


def _merge(first: LayerEntry, second: LayerEntry) -> LayerEntry:
    if (first.content is None) != (second.content is None):
        raise _conflict(first, second)
    if first.content is None or second.content is None:
        return first
    if first.size != second.size or _content_digest(first.content) != _content_digest(
        second.content
    ):
        raise _conflict(first, second)
    return replace(first, mode=max(first.mode, second.mode))


def _content_digest(source: PackedContent | bytes | LinkTarget) -> bytes:
    if isinstance(source, LinkTarget):
        return source.target.encode()
    digest = hashlib.sha256()
    for chunk in iter_entry_content(source):
        digest.update(chunk)
    return digest.digest()


def _conflict(first: LayerEntry, second: LayerEntry) -> BadInput:
    if first.owner == second.owner:
        message = f"wheel {first.owner} has two different contents for {first.path}"
    else:
        message = (
            f"wheels {first.owner} and {second.owner} have different contents for {first.path}"
        )
    hint = "they cannot be in one image: change or exclude one of the packages that bring them"
    return BadInput(message, where=first.path, hint=hint)


def _parents(path: str) -> Iterator[str]:
    parent = path.rpartition("/")[0]
    while parent:
        yield parent
        parent = parent.rpartition("/")[0]
