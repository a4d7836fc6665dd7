"""The entries of a layer: files and folders with their sources, brought into one fixed order."""

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
LINK_MODE: Final = 0o777  # what a link has, and nobody looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedContent:
    """A member of a wheel on disk, to be copied without unpacking it."""

    wheel: Path
    member: ArchiveMember


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """A symbolic link: what it says, which need not be there."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """A file, a link or, without content, a folder; `owner` is the wheel that it is from."""

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
    """The content in pieces; raises BadInput when it is not what the wheel's directory says."""
    if isinstance(source, bytes):
        yield source
    else:
        yield from iter_content(source.wheel, source.member)


def arrange_entries(entries: Iterable[LayerEntry]) -> tuple[LayerEntry, ...]:
    """All entries with their parents, each path once, by path.

    Raises BadInput when two wheels fill a path differently, or one has a folder where another
    has a file. The same content twice is one file, executable where either is.
    """
    found: dict[str, LayerEntry] = {}
    for entry in entries:
        other = found.get(entry.path)
        found[entry.path] = entry if other is None else _merge(other, entry)
    for entry in list(found.values()):
        for parent in _parents(entry.path):
            above = found.get(parent)
            if above is None:
                found[parent] = folder_entry(parent, owner=entry.owner)
            elif above.content is None:
                break  # its own parents are seen to in its own turn, or were when it was added
            else:
                raise _conflict(above, entry)
    return tuple(found[path] for path in sorted(found))


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
    for piece in iter_entry_content(source):
        digest.update(piece)
    return digest.digest()


def _conflict(first: LayerEntry, second: LayerEntry) -> BadInput:
    if first.owner == second.owner:
        message = f"wheel {first.owner} fills {first.path} twice"
    else:
        message = f"wheels {first.owner} and {second.owner} fill {first.path} differently"
    hint = "they cannot be in one image: change or exclude one of the packages that bring them"
    return BadInput(message, where=first.path, hint=hint)


def _parents(path: str) -> Iterator[str]:
    parent = path.rpartition("/")[0]
    while parent:
        yield parent
        parent = parent.rpartition("/")[0]
