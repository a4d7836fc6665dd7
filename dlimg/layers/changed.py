"""What a step has changed in a root file system, as the tar that containerd would write of it.

Below is the tar that the folder was unpacked from. A folder's time is no change, and a file is
read only where nothing else about it differs (continuity's `fs.Changes`).
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from dlimg.layers.overlay import order, removal

_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_NAME: Final = 100
_END: Final = bytes(2 * _BLOCK)
_CAPABILITY: Final = "security.capability"
_KINDS: Final[Mapping[int, bytes]] = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A thing in the folder."""

    path: str
    place: Path
    about: os.stat_result

    @property
    def kind(self) -> bytes:
        return _KINDS[stat.S_IFMT(self.about.st_mode)]

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.about.st_mode)

    @property
    def target(self) -> str:
        return str(self.place.readlink()) if self.kind == tarfile.SYMTYPE else ""

    @property
    def size(self) -> int:
        return self.about.st_size if self.kind == tarfile.REGTYPE else 0

    @property
    def capability(self) -> bytes:
        if self.kind != tarfile.REGTYPE or _CAPABILITY not in os.listxattr(self.place):
            return b""
        return os.getxattr(self.place, _CAPABILITY)


def changed(root: Path, below: tarfile.TarFile) -> Iterator[bytes]:
    """The pieces of the layer's tar."""
    known = {_path(member): member for member in below if _path(member) not in {"", "."}}
    found = {one.path: one for one in _walked(root, "")}
    removed = {path for path in known.keys() - found.keys() if _is_folder(found, _folder(path))}
    new = {path for path, one in found.items() if not _is_as_below(one, below, known)}
    parents = {str(one) for path in new | removed for one in PurePosixPath(path).parents}
    first: dict[int, str] = {}
    for path in sorted((new | removed | parents) - {"."}, key=order):
        if path in removed:
            yield removal(_marked(path))
        else:
            yield from _written(found[path], first)
    yield _END


def _walked(folder: Path, above: str) -> Iterator[_Found]:
    with os.scandir(folder) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISSOCK(about.st_mode):
                continue
            path = f"{above}{entry.name}"
            yield _Found(path=path, place=Path(entry.path), about=about)
            if entry.is_dir(follow_symlinks=False):
                yield from _walked(Path(entry.path), f"{path}/")


def _is_as_below(one: _Found, below: tarfile.TarFile, known: Mapping[str, tarfile.TarInfo]) -> bool:
    member = known.get(one.path)
    if member is None:
        return False
    # Of a link to a file the tar says only which file that is.
    named = known[member.linkname.removeprefix("./")] if member.islnk() else member
    target = named.linkname if named.issym() else ""
    about = (one.kind, one.mode, one.about.st_uid, one.about.st_gid, one.target, one.capability)
    if about != (*_said(named), target, _capability(named)):
        return False
    if named.isdir():
        return True
    if (int(one.about.st_mtime), one.size) != (int(named.mtime), named.size):
        return False
    return not named.isreg() or _is_same(one, below, named)


def _said(member: tarfile.TarInfo) -> tuple[bytes, int, int, int]:
    kind = tarfile.REGTYPE if member.isreg() else member.type
    return kind, member.mode, member.uid, member.gid


def _capability(member: tarfile.TarInfo) -> bytes:
    said = member.pax_headers.get(f"SCHILY.xattr.{_CAPABILITY}", "")
    return said.encode(errors="surrogateescape")


def _is_same(one: _Found, below: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    file = below.extractfile(member)
    if file is None:
        return False
    with one.place.open("rb") as other, file:
        while piece := file.read(_PIECE):
            if other.read(len(piece)) != piece:
                return False
    return True


def _written(one: _Found, first: dict[int, str]) -> Iterator[bytes]:
    """A header and a content; of the names of one file all but the first are links to that."""
    source = ""
    if one.kind == tarfile.REGTYPE and one.about.st_nlink > 1:
        source = first.setdefault(one.about.st_ino, one.path)
    if source not in {"", one.path}:
        yield _header(one, tarfile.LNKTYPE, source, 0)
        return
    yield _header(one, one.kind, one.target, one.size)
    if one.size:
        with one.place.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
        yield bytes(-one.size % _BLOCK)


def _header(one: _Found, kind: bytes, target: str, size: int) -> bytes:
    """As Go's archive/tar writes it in the format PAX: what does not fit, in records before it."""
    name = os.fsencode(one.path) + (b"/" if kind == tarfile.DIRTYPE else b"")
    link = os.fsencode(target)
    records = {}
    if len(name) > _NAME or not name.isascii():
        records[b"path"] = name
    if len(link) > _NAME or not link.isascii():
        records[b"linkpath"] = link
    if one.capability and kind == tarfile.REGTYPE:
        records[f"SCHILY.xattr.{_CAPABILITY}".encode()] = one.capability
    before = b""
    if records:
        text = b"".join(_record(key, value) for key, value in sorted(records.items()))
        folder, _, last = os.fsencode(one.path).rpartition(b"/")
        said = b"/".join([*([folder] if folder else []), b"PaxHeaders.0", last])
        before = _block(said, kind=tarfile.XHDTYPE, size=len(text)) + _padded(text)
    about = one.about
    numbers = (os.major(about.st_rdev), os.minor(about.st_rdev)) if kind in b"34" else (0, 0)
    return before + _block(
        name,
        kind=kind,
        size=size,
        link=link,
        owner=(one.mode, about.st_uid, about.st_gid),
        time=int(about.st_mtime),
        device=b"%07o\0%07o\0" % numbers,
    )


def _block(  # noqa: PLR0913 - the fields of a header
    name: bytes,
    *,
    kind: bytes,
    size: int,
    link: bytes = b"",
    owner: tuple[int, int, int] = (0, 0, 0),
    time: int = 0,
    device: bytes = bytes(16),
) -> bytes:
    """One header (POSIX.1-2008, pax, "ustar Interchange Format"); users have numbers only."""
    start = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (_fitted(name), *owner, size, time)
    rest = kind + _fitted(link) + b"ustar\x0000" + bytes(64) + device
    total = sum(start) + sum(rest) + 8 * ord(" ")
    return (start + b"%06o\0 " % total + rest).ljust(_BLOCK, b"\0")


def _fitted(text: bytes) -> bytes:
    return bytes(byte for byte in text if byte < 128)[:_NAME].ljust(_NAME, b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _padded(text: bytes) -> bytes:
    return text + bytes(-len(text) % _BLOCK)


def _marked(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/.wh.{name}" if folder else f".wh.{name}"


def _is_folder(found: Mapping[str, _Found], path: str) -> bool:
    return not path or (path in found and found[path].kind == tarfile.DIRTYPE)


def _path(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
